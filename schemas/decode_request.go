package schemas

var (
	operationRule = oneOf(OperationCreate, OperationFetch, OperationList, OperationUpdate)
	statusRule    = oneOf("pending", "expired", "approved", "denied")
	orderRule     = oneOf("asc", "desc")

	serviceRule   = sid("VA")
	challengeRule = sid("YC")
	factorRule    = sid("YF")

	messageRule       = length(1, MaxMessage)
	labelRule         = length(1, MaxLabel)
	valueRule         = length(0, MaxValue)
	createPayloadRule = length(MinAuthPayload, MaxCreateAuthPayload)
	updatePayloadRule = length(MinAuthPayload, MaxUpdateAuthPayload)
)

// DecodeRequest reads a request event. The error, if any, is a *DecodeError; the
// warnings are given either way. An accepted request may still be refused by
// Check.
func DecodeRequest(data []byte) (*Request, []Warning, error) {
	d, refused := newDecoder(data, &requestShape)
	if refused != nil {
		return nil, nil, refused
	}
	defer d.release()
	o, ok := d.open(0, &requestShape)
	if !ok {
		return nil, nil, d.verdict("", "")
	}
	r := &Request{
		ID:        o.text("id", required, idRule),
		Operation: Operation(o.text("operation", required, operationRule)),
	}
	if err := o.version(&r.Version, r.ID, r.Operation); err != nil {
		return nil, nil, err
	}
	o.request(r)
	if err := d.verdict(r.ID, r.Operation); err != nil {
		return nil, d.notices(), err
	}
	return r, d.notices(), nil
}

// version reads the event's version. The error is for another major version, and
// takes the place of all faults, which are those of a contract that doesn't apply.
func (o *object) version(v *string, id string, op Operation) error {
	other := ""
	*v = o.text("version", required, func(s string) string {
		if otherMajor(s) {
			other = s
			return ""
		}
		return versionRule(s)
	})
	if other == "" {
		return nil
	}
	message := "is another major version than 1, which is the one read here"
	if len(other) <= 8 {
		message = "is " + other + "; only 1.x is read here"
	}
	return &DecodeError{Code: CodeVersion, ID: id, Operation: op, Faults: []Fault{{Path: "$.version", Message: message}}}
}

func (o *object) request(r *Request) {
	r.Account = o.text("account", optional, accountRule)
	r.ServiceSID = o.text("service_sid", required, serviceRule)
	r.Identity = o.text("identity", required, identityRule)
	needsSID := need(r.Operation == OperationFetch || r.Operation == OperationUpdate)
	if r.Operation == OperationCreate || r.Operation == OperationList {
		o.foreign("challenge_sid", "only fetch and update name a challenge")
	} else {
		r.ChallengeSID = o.text("challenge_sid", needsSID, challengeRule)
	}
	r.NotAfter = o.time("not_after", optional)
	if o.mayHave(OperationCreate, r.Operation) {
		r.Create = o.create(r.Operation == OperationCreate)
	}
	if o.mayHave(OperationUpdate, r.Operation) {
		r.Update = o.update(r.Operation == OperationUpdate)
	}
	if o.mayHave(OperationList, r.Operation) {
		r.List = o.list()
	}
}

// mayHave reports whether the object named after an operation is to be read: it
// is the event's own, or the event's operation is not known. It is a fault
// otherwise, and what it holds doesn't matter.
func (o *object) mayHave(named, actual Operation) bool {
	if actual == "" || named == actual {
		return true
	}
	o.foreign(string(named), "belongs to operation "+string(named)+", not "+string(actual))
	return false
}

func (o *object) foreign(name, message string) {
	if o.has(name) {
		o.d.faultAt(name, "must not be there: "+message)
	}
}

func (o *object) create(needed bool) (c *Create) {
	o.inner("create", need(needed), func(in *object) {
		c = &Create{
			FactorSID:      in.text("factor_sid", required, factorRule),
			ExpirationDate: in.time("expiration_date", optional),
			Details:        in.details(),
			HiddenDetails:  in.texts("hidden_details", MarkerKey),
			AuthPayload:    in.text("auth_payload", optional, createPayloadRule),
		}
	})
	return c
}

func (o *object) details() (v *Details) {
	o.inner("details", optional, func(in *object) {
		v = &Details{Message: in.text("message", optional, messageRule)}
		there := in.items("fields", MaxFields, func(n int32) {
			if item, ok := in.d.open(n, &fieldShape); ok {
				v.Fields = append(v.Fields, Field{
					Label: item.text("label", required, labelRule),
					Value: item.text("value", required, valueRule),
				})
			}
		})
		if there && v.Fields == nil {
			v.Fields = []Field{}
		}
	})
	return v
}

func (o *object) update(needed bool) (u *Update) {
	o.inner("update", need(needed), func(in *object) {
		u = &Update{
			AuthPayload: in.text("auth_payload", optional, updatePayloadRule),
			Metadata:    in.texts("metadata", ""),
		}
	})
	return u
}

func (o *object) list() (l *List) {
	o.inner("list", optional, func(in *object) {
		l = &List{
			FactorSID: in.text("factor_sid", optional, factorRule),
			Status:    in.text("status", optional, statusRule),
			Order:     in.text("order", optional, orderRule),
			PageSize:  in.count("page_size", optional, 1, MaxPageSize),
		}
		if v, ok := in.integer("page", optional, 0, MaxCount); ok {
			page := int(v)
			l.Page = &page
		}
		l.PageToken = in.text("page_token", optional, notEmpty)
		l.Limit = in.count("limit", optional, 1, MaxCount)
	})
	return l
}
