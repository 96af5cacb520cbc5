package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// auto takes what a user names first, then what is nearest to how brokers are run,
// and the embedded one where there is nothing else. What is there and fails ends it.
func TestAutoOrder(t *testing.T) {
	broken := errors.New("is broken")
	for _, tc := range []struct {
		absent []Kind
		fails  Kind
		want   Kind
	}{
		{want: Named},
		{absent: []Kind{Named}, want: Container},
		{absent: []Kind{Named, Container}, want: Jars},
		{absent: []Kind{Named, Container, Jars}, want: Embedded},
		{absent: []Kind{Named}, fails: Container},
		{fails: Named},
	} {
		b, err := auto(t.Context(), func(_ context.Context, kind Kind) (*Broker, error) {
			switch {
			case kind == tc.fails:
				return nil, broken
			case slices.Contains(tc.absent, kind):
				return nil, fmt.Errorf("%s: %w", kind, errAbsent)
			}
			return &Broker{Kind: kind}, nil
		})
		if tc.fails != "" {
			if !errors.Is(err, broken) {
				t.Errorf("without %v, %s broken: %v, %v", tc.absent, tc.fails, b, err)
			}
			continue
		}
		if err != nil || b.Kind != tc.want {
			t.Fatalf("without %v: %v, %v; want %s", tc.absent, b, err, tc.want)
		}
		for _, kind := range tc.absent {
			if !strings.Contains(b.About, string(kind)+": not here") {
				t.Errorf("%q does not say why it is not %s", b.About, kind)
			}
		}
	}
}
