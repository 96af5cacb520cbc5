package kafka

import (
	"testing"
	"testing/synctest"
	"time"
	"fmt"

	"github.com/countersign/countersign/internal/broker"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestProto(t *testing.T) {
	real := time.Now()
	synctest.Test(t, func(t *testing.T) {
		net := &kfake.VirtualNetwork{}
		b, err := broker.Start(broker.Config{Topics: map[string]int32{"t": 2}, Network: net})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c, err := NewClient(Config{Brokers: b.Addrs(), Dial: net.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		st := time.Now()
		n, err := c.Partitions(t.Context(), "t")
		fmt.Println(n, err, time.Since(st))
		err = c.Produce(t.Context(), []Message{{Topic: "t", Key: []byte("k"), Value: []byte("v")}})
		fmt.Println(err, time.Since(st))
		for p := range 2 {
			f, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Partition: p})
			fmt.Println(f, err, time.Since(st))
		}
		fmt.Println(c.Ping(t.Context()))
	})
	fmt.Println("real", time.Since(real))
}
