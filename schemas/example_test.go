package schemas_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/schemas"
)

func ExampleDecodeRequest() {
	event := `{"version": "1.0", "id": "signin-4711", "operation": "create",
		"service_sid": "VA5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8", "identity": "me",
		"create": {"FactorSid": "YF5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8", "auth_payload": "12"}}`
	_, warnings, err := schemas.DecodeRequest([]byte(event))
	if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
		fmt.Println(refused.Code, refused.ID)
		for _, f := range refused.Faults {
			fmt.Println("fault:", f)
		}
	}
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}
	// Output:
	// invalid signin-4711
	// fault: $.identity must have 8 to 64 letters and digits, in groups separated by single dashes
	// fault: $.create.factor_sid is required; is it the one written as "FactorSid"?
	// fault: $.create.auth_payload must have 3 to 8 characters; it has 2
	// warning: $.create.FactorSid is not a field of version 1 and is ignored; did you mean factor_sid?
}

func ExampleRequest_Encode() {
	r := schemas.Request{
		ID: "poll-4711-1", Operation: schemas.OperationFetch,
		ServiceSID:   "VA5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8",
		Identity:     "0d5c9c3e-7b1f-4f57-9a53-3a6f0be0a9a1",
		ChallengeSID: "YC5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8",
	}
	event, err := r.Encode()
	fmt.Println(string(event), err)
	// Output:
	// {"version":"1.0","id":"poll-4711-1","operation":"fetch","service_sid":"VA5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8","identity":"0d5c9c3e-7b1f-4f57-9a53-3a6f0be0a9a1","challenge_sid":"YC5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"} <nil>
}

func ExampleRequest_Check() {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	expires := now.Add(2 * time.Hour)
	r := schemas.Request{Operation: schemas.OperationCreate, Create: &schemas.Create{ExpirationDate: &expires}}
	fmt.Println(r.Check(now))
	// Output:
	// [$.create.expiration_date must be at most 60 minutes ahead; it is 2h0m0s]
}
