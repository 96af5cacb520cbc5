package clients

import (
	"iter"
	"slices"
	"testing"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/internal/secret"
)

// TestLazyPages: our list is a stream as the Elixir client documents its own,
// "lazy auto-pagination". A page is asked for when its first item is, whoever
// stops early asks for nothing more, and whoever goes on comes to the end. One
// iterator can be gone through again.
func TestLazyPages(t *testing.T) {
	w := newWorld(t, emulator.Rules{})
	want := w.askMany(w.push(), 23)
	ours, err := read.New(read.Config{
		AccountSID: emulator.DefaultAccountSID, Password: secret.String(emulator.DefaultAuthToken), BaseURL: w.e.URL(),
	})
	must(t, err)
	defer ours.CloseIdleConnections()
	all := func(p read.ListParams) iter.Seq2[read.Challenge, error] {
		return ours.All(t.Context(), service, identity, p)
	}

	stream := all(read.ListParams{PageSize: 5})
	if n := w.calls(emulator.OperationList); n != 0 {
		t.Fatalf("%d pages were read before the first item was asked for", n)
	}
	next, stop := iter.Pull2(stream)
	for i, sid := range want {
		c, err, ok := next()
		if err != nil || !ok || c.SID != sid {
			t.Fatalf("item %d is %s, %v, %v, want %s", i, c.SID, err, ok, sid)
		}
		if pages := w.calls(emulator.OperationList); pages != int64(i/5+1) {
			t.Fatalf("%d pages were read for item %d", pages, i)
		}
	}
	if _, _, ok := next(); ok || w.calls(emulator.OperationList) != 5 {
		t.Errorf("there is more behind the end: %v, %d pages", ok, w.calls(emulator.OperationList))
	}
	stop()

	for _, tc := range []struct {
		take  int
		p     read.ListParams
		pages int64
	}{
		{1, read.ListParams{PageSize: 5}, 1},
		{5, read.ListParams{PageSize: 5}, 1},
		{6, read.ListParams{PageSize: 5}, 2},
		{10, read.ListParams{PageSize: 5, Limit: 10}, 2},
		{23, read.ListParams{PageSize: 5}, 5},
		{23, read.ListParams{}, 1},
	} {
		before := w.calls(emulator.OperationList)
		var got []string
		for c, err := range all(tc.p) {
			must(t, err)
			if got = append(got, c.SID); len(got) == tc.take {
				break
			}
		}
		if pages := w.calls(emulator.OperationList) - before; pages != tc.pages || !slices.Equal(got, want[:tc.take]) {
			t.Errorf("%+v: %d items of %d pages", tc, len(got), pages)
		}
	}
	again := 0
	for _, err := range stream {
		must(t, err)
		again++
	}
	if again != len(want) {
		t.Errorf("%d items when gone through again", again)
	}

	// Where the list breaks off, the items before it are given and then one error.
	must(t, w.e.Script(emulator.OperationList, emulator.FaultNone, emulator.FaultServerError))
	var items, errs int
	for _, err := range all(read.ListParams{PageSize: 5}) {
		if err != nil {
			errs++
		} else {
			items++
		}
	}
	if items != 5 || errs != 1 {
		t.Errorf("%d items and %d errors", items, errs)
	}
}
