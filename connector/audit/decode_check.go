package audit

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// check says what no field can say alone.
func (r *Report) check() error {
	w := &r.Window
	for _, list := range []struct {
		path  string
		spans []OffsetSpan
	}{{"window.requests", w.Requests}, {"window.gone", w.Gone}, {"window.worked_off", w.WorkedOff}, {"window.results", w.Results}, {"window.dead_letters", w.DeadLetters}} {
		for i, s := range list.spans {
			if err := s.check(fmt.Sprintf("%s[%d]", list.path, i)); err != nil {
				return err
			}
			// What is gone of one partition may be in several pieces.
			if i > 0 && list.path != "window.gone" && s.Partition <= list.spans[i-1].Partition {
				return invalid("%s[%d].partition must be above the one before it", list.path, i)
			}
		}
	}
	if r.Covered.Algorithm != DigestAlgorithm {
		return invalid("covered.algorithm is not the one of this release, %q", DigestAlgorithm)
	}
	for i := range r.Covered.Trees {
		if err := r.Covered.Trees[i].check(fmt.Sprintf("covered.trees[%d]", i)); err != nil {
			return err
		}
	}
	if err := r.checkKinds(); err != nil {
		return err
	}
	if open := r.Counts.ByKind[KindOpen]; w.Closed != (open == 0) {
		return invalid("window.closed is %t beside %d findings of an open window", w.Closed, open)
	}
	if len(r.Series.Buckets) > 0 {
		if _, ok := r.Series.at(len(r.Series.Buckets)); !ok {
			return invalid("series.buckets need a start and a width above 0, and must end within 292 years")
		}
	}
	return nil
}

func (s OffsetSpan) check(path string) error {
	if s.To < s.From {
		return invalid("%s.to is below its from", path)
	}
	return nil
}

func (t *Tree) check(path string) error {
	switch {
	case t.Records == 0:
		return invalid("%s.records must be above 0", path)
	case t.Last < t.First || t.Last-t.First < t.Records-1:
		return invalid("%s.last leaves no room for %d records from %d on", path, t.Records, t.First)
	case t.Block <= 0 || t.Block&(t.Block-1) != 0:
		return invalid("%s.block must be a power of two", path)
	case int64(len(t.Blocks)) != (t.Records-1)/t.Block+1:
		return invalid("%s.blocks must be %d", path, (t.Records-1)/t.Block+1)
	}
	return nil
}

func (r *Report) checkKinds() error {
	kinds := Kinds()
	for k := range r.Counts.ByKind {
		if !slices.Contains(kinds, k) {
			return invalid("counts.findings.%s is no kind of finding", printable(string(k)))
		}
	}
	for _, k := range kinds {
		if _, ok := r.Counts.ByKind[k]; !ok {
			return invalid("counts.findings.%s is missing", k)
		}
	}
	for i := range r.Findings {
		if err := r.Findings[i].check(fmt.Sprintf("findings[%d]", i)); err != nil {
			return err
		}
	}
	for k, list := range r.byKind() {
		if int64(len(list)) > r.Counts.ByKind[k] {
			return invalid("counts.findings.%s is below the %d findings that are listed", k, len(list))
		}
	}
	return nil
}

func (f *Finding) check(path string) error {
	if !slices.Contains(Kinds(), f.Kind) {
		return invalid("%s.kind %q is none", path, printable(string(f.Kind)))
	}
	if of, ok := details[f.Detail]; !ok || of != f.Kind {
		return invalid("%s.detail %q is none of kind %s", path, printable(string(f.Detail)), f.Kind)
	}
	if q := f.Request; q != nil {
		switch q.Operation {
		case "", schemas.OperationCreate, schemas.OperationFetch, schemas.OperationList, schemas.OperationUpdate:
		default:
			return invalid("%s.request.operation %q is none", path, printable(string(q.Operation)))
		}
	}
	if f.Span != nil {
		return f.Span.check(path + ".span")
	}
	return nil
}
