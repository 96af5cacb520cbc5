package demo

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/emulator"
)

func TestOptionsDefaults(t *testing.T) {
	o := Options{Plugin: Plugin{Path: "p"}, Outage: 20 * time.Second}.withDefaults()
	if o.Requests != DefaultRequests || o.Rate != DefaultRate || o.People != DefaultPeople || o.BreakerOpen != time.Second || o.Out != io.Discard {
		t.Errorf("%+v", o)
	}
	if want := 3*10*time.Second + 20*time.Second + 90*time.Second; o.Deadline != want {
		t.Errorf("deadline %v, want %v", o.Deadline, want)
	}
	if d := (Options{Faults: true}).withDefaults().Deadline; d != 3*10*time.Second+90*time.Second+12*time.Second {
		t.Errorf("deadline with faults %v", d)
	}
	mine := Options{Requests: 1, Rate: 2, People: 3, BreakerOpen: 4, Deadline: 5, Out: io.Discard}
	if got := mine.withDefaults(); got.Requests != 1 || got.Rate != 2 || got.People != 3 || got.BreakerOpen != 4 || got.Deadline != 5 {
		t.Errorf("%+v", got)
	}
}

func TestOptionsValidateReportsAll(t *testing.T) {
	if err := (Options{Plugin: Plugin{Path: "p"}}).Validate(); err != nil {
		t.Errorf("the zero values: %v", err)
	}
	bad := Options{Requests: -1, Rate: -1, People: 5000, Outage: -time.Second, BreakerOpen: -1, Deadline: -1}
	err := bad.Validate()
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 7 {
		t.Errorf("7 faults, reported: %v", err)
	}
	if sum, err := Run(t.Context(), bad); sum != nil || err == nil {
		t.Errorf("Run with faulty options: %+v, %v", sum, err)
	}
}

// TestConfigurationIsValid: whatever the options, the plugin accepts its
// document, and the only secret in it is a placeholder.
func TestConfigurationIsValid(t *testing.T) {
	for _, rate := range []float64{0.1, DefaultRate, 5000} {
		o := Options{Rate: rate, Plugin: Plugin{Path: "p"}}.withDefaults()
		doc := configuration(o, "127.0.0.1:9092", "http://127.0.0.1:4010")
		names, err := connector.SecretNames(doc)
		if err != nil || !slices.Equal(names, []string{tokenSecret}) {
			t.Errorf("secrets %v, %v", names, err)
		}
		if strings.Contains(string(doc), emulator.DefaultAuthToken) {
			t.Error("the token stands in the document")
		}
		cfg, err := connector.ParseConfig(doc, map[string]string{tokenSecret: emulator.DefaultAuthToken})
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		if cfg.Kafka.Group != group || cfg.Accounts[accountName].Rate.PerSecond < rate || cfg.Accounts[accountName].Breaker.Open != time.Second {
			t.Errorf("%+v", cfg)
		}
	}
}

func TestFaultsAreValid(t *testing.T) {
	for _, on := range []bool{false, true} {
		f := faults(Options{Faults: on})
		if err := f.Validate(); err != nil {
			t.Errorf("faults %v: %v", on, err)
		}
		struck := f.ThrottleRate > 0 && f.RetryAfter > 0 && f.ServerErrorRate > 0 && f.ResetBeforeRate > 0 && f.ResetAfterRate > 0
		if struck != on {
			t.Errorf("faults %v: %+v", on, f)
		}
	}
}

func TestSummaryProblems(t *testing.T) {
	if p := (&Summary{Requests: 5, Unfinished: 3, AmbiguousCreates: 2}).Problems(); len(p) != 0 {
		t.Errorf("what is no problem: %q", p)
	}
	all := Summary{Lost: 1, Duplicates: 2, Orphans: 3, Unreadable: 4, OutOfOrder: 5, ExtraCreates: 6, PhantomCreates: 7}
	if p := all.Problems(); len(p) != 7 || p[0] != "1 requests lost" {
		t.Errorf("%q", p)
	}
	var b strings.Builder
	all.Interrupted = true
	if n, err := all.WriteTo(&b); err != nil || int(n) != b.Len() {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
	for _, want := range []string{"lost          1", "duplicates    2", "adopted       0", "PROBLEM       6 challenges made twice", "interrupted"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
