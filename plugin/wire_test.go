package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin/pluginpb"
)

// fill gives every exported field, however deep, a value that is not zero, and
// fails for a type that it does not know: a new field of Status is noticed here.
func fill(t *rapid.T, v reflect.Value, label string) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(1, 1<<40).Draw(t, label))
	case reflect.Float64:
		v.SetFloat(rapid.Float64Range(0.001, 1e9).Draw(t, label))
	case reflect.String:
		v.SetString(rapid.StringN(1, 20, -1).Draw(t, label))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), label)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(1, 3).Draw(t, label), 3))
		for i := range v.Len() {
			fill(t, v.Index(i), fmt.Sprint(label, i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value, label)
		v.SetMapIndex(reflect.ValueOf(rapid.StringN(1, 9, -1).Draw(t, label+" key")), value)
	case reflect.Struct:
		if v.Type().String() == "time.Time" {
			at := time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, label), 5).UTC()
			v.Set(reflect.ValueOf(at))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	default:
		t.Fatalf("%s: a %s cannot be filled", label, v.Kind())
	}
}

// Every field of a Status arrives as it left.
func TestStatusRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var st connector.Status
		fill(t, reflect.ValueOf(&st).Elem(), "status")
		st.State = rapid.SampledFrom([]connector.State{
			connector.StateNew, connector.StateConfigured, connector.StateRunning,
			connector.StateDraining, connector.StateStopped, connector.StateFailed,
		}).Draw(t, "state")
		wire, err := proto.Marshal(statusToPB(st))
		if err != nil {
			t.Fatal(err)
		}
		var back pluginpb.Status
		if err := proto.Unmarshal(wire, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(st, statusFromPB(&back)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A status with texts that are not UTF-8 still travels.
func TestStatusWithBrokenText(t *testing.T) {
	st := connector.Status{
		Reason:   "a\xffb",
		Lanes:    []connector.LaneStatus{{Stuck: &connector.Stuck{Key: "\xff", Why: "\xfe"}}},
		Accounts: []connector.AccountStatus{{Name: "\xff"}},
	}
	if _, err := proto.Marshal(statusToPB(st)); err != nil {
		t.Error(err)
	}
	if got := statusFromPB(nil); got.State != "" || got.Lanes != nil {
		t.Errorf("%+v", got)
	}
}

// An error of the plugin arrives with its code, its faults and its numbers.
func TestErrorRoundTrip(t *testing.T) {
	yes, no := true, false
	for _, w := range wireCodes {
		e := &Error{Code: w.code, Message: "m", Abandoned: -1, Violations: []connector.Violation{{Path: "p", Message: "q"}}}
		got := asError(fromStatus(toStatus(e)))
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s: %s", w.code, diff)
		}
		if st := status.Convert(toStatus(e)); st.Code() != w.grpc {
			t.Errorf("%s: gRPC code %s", w.code, st.Code())
		}
	}
	for _, tt := range []struct {
		err  error
		want *Error
	}{
		{&Error{Code: CodeInternal, Retry: &no}, &Error{Code: CodeInternal, Retry: &no}},
		{&Error{Code: CodeConfig, Retry: &yes}, &Error{Code: CodeConfig, Retry: &yes}},
		{&Error{Code: CodeInternal, Retry: &yes}, &Error{Code: CodeInternal}},
		{&Error{Code: CodeSecrets, Message: "s"}, &Error{Code: CodeInternal, Message: "s"}}, // a host's own code
		{fmt.Errorf("foreign \xff"), &Error{Code: CodeInternal, Message: "foreign \uFFFD"}},
		{fmt.Errorf("wrapped: %w", &Error{Code: CodeState, Err: errStub}), &Error{Code: CodeState, Message: "stub"}},
		{context.DeadlineExceeded, &Error{Code: CodeTimeout, Message: context.DeadlineExceeded.Error()}},
	} {
		if diff := cmp.Diff(tt.want, asError(fromStatus(toStatus(tt.err)))); diff != "" {
			t.Errorf("%v: %s", tt.err, diff)
		}
	}
	if toStatus(nil) != nil || fromStatus(nil) != nil || failureFromPB(nil) != nil {
		t.Error("nil is not nil")
	}
}

// What is no error of ours is read by gRPC's code: a plugin may be of another
// make, or gone.
func TestForeignStatus(t *testing.T) {
	for code, want := range map[codes.Code]Code{
		codes.Unavailable:       CodeCrashed,
		codes.Unimplemented:     CodeUnimplemented,
		codes.DeadlineExceeded:  CodeTimeout,
		codes.Canceled:          CodeCanceled,
		codes.ResourceExhausted: CodeInternal,
	} {
		isCode(t, fromStatus(status.Error(code, "x")), want)
	}
	isCode(t, fromStatus(io.EOF), CodeCrashed)
	if err := fromStatus(status.Error(codes.Canceled, "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	if got := failureFromPB(&pluginpb.Failure{Code: 99, Retryable: true}); got.Code != CodeInternal {
		t.Errorf("unknown code: %+v", got)
	}
}
