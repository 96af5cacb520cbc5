package connector

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

const (
	markerSID      = "AC00000000000000000000000000000001"
	markerOtherSID = "AC00000000000000000000000000000002"
)

// markerConfig has one account, or a second one on request.
func markerConfig(change func(*Config)) Config {
	cfg := Config{Accounts: map[string]AccountConfig{"main": {AccountSID: markerSID}}}
	cfg.Recovery.Deployment = "verify-eu"
	if change != nil {
		change(&cfg)
	}
	return cfg.WithDefaults()
}

func withKey(c *Config) { c.Recovery.MarkerKey = "0123456789abcdef" }

// The requests whose hashes are pinned.
func pinnedRequests() map[string]*schemas.Request {
	expires := time.Date(2026, 3, 4, 5, 6, 7, 8, time.FixedZone("", 3600))
	page := 0
	const service, identity = "VA00000000000000000000000000000001", "user-00000001"
	const factor, challenge = "YF00000000000000000000000000000001", "YC00000000000000000000000000000001"
	return map[string]*schemas.Request{
		"create": {
			ID: "order-1", Operation: schemas.OperationCreate, Account: "main", ServiceSID: service, Identity: identity,
			Create: &schemas.Create{
				FactorSID: factor, ExpirationDate: &expires,
				Details:       &schemas.Details{Message: "Öffnen?", Fields: []schemas.Field{{Label: "Ort", Value: "Tür 3"}, {Label: "leer"}}},
				HiddenDetails: map[string]string{"z": "1", "a": "<&>"}, AuthPayload: "123456",
			},
		},
		"smallest create": {
			ID: "order-2", Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity,
			Create: &schemas.Create{FactorSID: factor},
		},
		"update": {
			ID: "order-3", Operation: schemas.OperationUpdate, ServiceSID: service, Identity: identity, ChallengeSID: challenge,
			Update: &schemas.Update{AuthPayload: "654321", Metadata: map[string]string{"os": "x"}},
		},
		"list": {
			ID: "order-4", Operation: schemas.OperationList, ServiceSID: service, Identity: identity,
			List: &schemas.List{FactorSID: factor, Status: "pending", Order: "desc", PageSize: 20, Page: &page, PageToken: "t", Limit: 7},
		},
		"fetch": {ID: "order-5", Operation: schemas.OperationFetch, ServiceSID: service, Identity: identity, ChallengeSID: challenge},
		"unknown account": {
			ID: "order-6", Operation: schemas.OperationFetch, Account: "other", ServiceSID: service, Identity: identity, ChallengeSID: challenge,
		},
	}
}

// What a release hashes, another one must hash too, or the challenges under way
// are unknown to it. These values never change. Two of them (derived smallest
// create, keyed create) were also computed by a program of another language.
func TestMarkerGolden(t *testing.T) {
	want := map[string]string{
		"derived create":          "b8abd18881ea9c87ec6d8d3a0d9734e4 9eccc56ee0972a5f899cc9837489b75e dUaO0X7X8Z3fIyN74EjG1Y9tFEMt2IPPWsqSad-3Hw0",
		"derived fetch":           "f2f66c2593a1fd0dd00d06ceb300c7db 5694aea6ae48e6aa70e09a8c48780965 q7Ds5aXStdAI8u8EWs1RcF4UZO8Lhks6x2eiayyo8wk",
		"derived list":            "15cbba81606ffa1e2cd3129f3dca4bbc b9bfcdae977c6ffe71dcb9792de5df46 0W7iKfsB8n6PCdBzh2JRFvB4-1w_HQywGOAM7X8TM4g",
		"derived smallest create": "153056d3856c3c0e616bf936692c9f1e 88cf7545aaaff108b3b36602167ebc36 sJJN8-9U4r9qkLailJ6ZOfFVSN75ZTjcXnywz5yhZq8",
		"derived unknown account": "96dfae4f0ca802e39c0a6dc7d5e1673b ad12f9af4182669d423f3cf92bc4a1b8 Vfqji5IbRsLHfZ2nlyMtUXQY-LQGqRx3huA6U5vs1AE",
		"derived update":          "62c381b8c3c3fa95d081d4ff1004a9ba 06f79bee2fc2c9133c964b293529729b xE3KJLrLzp1sewJhNzOaVONhx3__7oTEaMJszxBnFJY",
		"keyed create":            "73b369fa4dfc96ae41299649fba4ada4 408e9d4b0d64ddeab50f38c6a5f3b27d 9uQOZbDqUFT41zguCSpeTLxMzm5vsXvvsBUPR6EszGk",
		"keyed fetch":             "0b05cf1a565a227b95b485e0d2e80401 d46e51e3767aee6037595cc05eaa028b iYMUStT_PXP5tQuQfd9umhywUwSMfk6D223Q_GrUL7U",
		"keyed list":              "b573af0619782c92bf681dc0d54d0a20 5f92e78574c4bec24831f4e1f59c0c5e ziBfPUpu1SmNk4NH2gli0YUEuddhmrSqJag4ReZPuK0",
		"keyed smallest create":   "d4ec37d73c4409effb6ef18ec4b0db11 703b9b4c8fc79581f08c8ace42ee14d2 SMSQWyPTKBKZagJVDBeGsLIcClkIW4bslcRQWGp_lJg",
		"keyed unknown account":   "eec1e533ca7986c3f0ad27c0c576157e ba3c4b8a38ebb450d50b91e27a3c3449 rGFRbskMjEQfL6XIaHSokxpPCeJY7KTkRniHJsFzCGc",
		"keyed update":            "f8e1da1792ce2cbcc6ecde65ab4b7129 113ea08e2c471fdf1d1edb2453fb58e3 -eeya8iw-Ie8YxdBih6bYfIg4UJ9nXZiXIaGmQAfzPY",
	}
	for variant, cfg := range map[string]Config{"derived": markerConfig(nil), "keyed": markerConfig(withKey)} {
		m := newMarker(cfg)
		for name, req := range pinnedRequests() {
			id, body := m.idHash(req.ID), m.body(req)
			got := hex.EncodeToString(id[:]) + " " + hex.EncodeToString(body[:]) + " " + m.mark(req)
			if got != want[variant+" "+name] {
				t.Errorf("%q: %q,", variant+" "+name, got)
			}
		}
	}
	// Computed by a program of another language, too.
	if got := newMarker(markerConfig(withKey)).record(recordHash{1, 2, 3, 4, 5, 6, 7, 8}).String(); got != "f026566f1899d633" {
		t.Errorf("the record: %q", got)
	}
}

func TestMarkFitsIntoItsReserve(t *testing.T) {
	m := newMarker(markerConfig(withKey))
	mark := m.mark(pinnedRequests()["create"])
	if len(mark) != 43 || strings.Trim(mark, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("the mark is %q", mark)
	}
	hidden := map[string]string{"k": strings.Repeat("x", schemas.MaxSerialised-schemas.MarkerReserve-len(`{"k":""}`))}
	marked := withMark(hidden, mark)
	if n := len(schemas.Stringify(marked)); n > schemas.MaxSerialised {
		t.Errorf("with the mark the hidden details have %d characters", n)
	}
	if len(hidden) != 1 || len(marked) != 2 || marked["k"] != hidden["k"] || marked[schemas.MarkerKey] != mark {
		t.Errorf("the user's hidden details are %v, sent are %v", hidden, marked)
	}
	if alone := withMark(nil, mark); !maps.Equal(alone, map[string]string{schemas.MarkerKey: mark}) {
		t.Errorf("without hidden details %v are sent", alone)
	}
}

func TestCarriesMark(t *testing.T) {
	mark := newMarker(markerConfig(nil)).mark(pinnedRequests()["create"])
	for name, tc := range map[string]struct {
		hidden read.Properties
		want   bool
	}{
		"the mark":        {read.Properties{schemas.MarkerKey: mark, "z": "1"}, true},
		"another":         {read.Properties{schemas.MarkerKey: mark[:42] + "~"}, false},
		"a piece":         {read.Properties{schemas.MarkerKey: mark[:42]}, false},
		"more":            {read.Properties{schemas.MarkerKey: mark + " "}, false},
		"another key":     {read.Properties{"Countersign": mark}, false},
		"no text":         {read.Properties{schemas.MarkerKey: []any{mark}}, false},
		"nothing":         {read.Properties{}, false},
		"no details":      {nil, false},
		"the user's word": {read.Properties{schemas.MarkerKey: "mine"}, false},
	} {
		if got := carriesMark(tc.hidden, mark); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// The same request fits one deployment, one key and one account only. Names of
// accounts and their number don't matter.
func TestMarkerBelongsToADeployment(t *testing.T) {
	second := func(c *Config) { c.Accounts["second"] = AccountConfig{AccountSID: markerOtherSID} }
	base := func() *schemas.Request { return pinnedRequests()["create"] }
	seen := map[string]string{}
	for name, change := range map[string]func(*Config){
		"derived":            nil,
		"keyed":              withKey,
		"other key":          func(c *Config) { c.Recovery.MarkerKey = "0123456789abcdeF" },
		"other deployment":   func(c *Config) { c.Recovery.Deployment = "verify-us" },
		"keyed, other":       func(c *Config) { withKey(c); c.Recovery.Deployment = "verify-us" },
		"the key as a name":  func(c *Config) { c.Recovery.Deployment = "0123456789abcdef" },
		"other account's":    func(c *Config) { c.Accounts["main"] = AccountConfig{AccountSID: markerOtherSID} },
		"the group's name":   func(c *Config) { c.Recovery.Deployment = "" },
		"the key written up": func(c *Config) { c.Recovery.MarkerKey = unkeyed + "!" },
	} {
		m := newMarker(markerConfig(change))
		body := m.body(base())
		for _, text := range []string{m.mark(base()), hex.EncodeToString(body[:])} {
			if other, taken := seen[text]; taken {
				t.Errorf("%s and %s make the same", name, other)
			}
			seen[text] = name
		}
	}
	want := newMarker(markerConfig(nil))
	renamed := newMarker(markerConfig(func(c *Config) {
		c.Accounts = map[string]AccountConfig{"eu": {AccountSID: markerSID}}
	}))
	two := newMarker(markerConfig(second))
	req := base()
	for name, got := range map[string]string{
		"with a second account": two.mark(req),
		"without the name":      want.mark(alter(req, func(r *schemas.Request) { r.Account = "" })),
		"renamed":               renamed.mark(alter(req, func(r *schemas.Request) { r.Account = "eu" })),
		"with a deadline":       want.mark(alter(req, func(r *schemas.Request) { r.NotAfter = new(time.Time) })),
		"of a minor version":    want.mark(alter(req, func(r *schemas.Request) { r.Version = "1.7" })),
	} {
		if got != want.mark(req) {
			t.Errorf("%s the mark is another", name)
		}
	}
	other := alter(req, func(r *schemas.Request) { r.Account = "second" })
	if two.body(other) == two.body(req) || two.mark(other) == two.mark(req) {
		t.Error("another account makes no difference")
	}
	// A name that is left out means the only account, not one of several.
	nameless := alter(req, func(r *schemas.Request) { r.Account = "" })
	if body := two.body(nameless); body == two.body(req) || body == two.body(other) {
		t.Error("of two accounts one is taken for the one that was left out")
	}
	if two.idHash("a") != want.idHash("a") || two.idHash("a") == two.idHash("b") {
		t.Error("an id's hash must depend on the id, and on no account")
	}
	if want.mark(alter(req, func(r *schemas.Request) { r.ID = "order-2" })) == want.mark(req) {
		t.Error("another id makes no difference to the mark")
	}
	if want.body(alter(req, func(r *schemas.Request) { r.ID = "order-2" })) != want.body(req) {
		t.Error("another id makes a difference to the body")
	}
}

func alter(req *schemas.Request, change func(*schemas.Request)) *schemas.Request {
	out := *req
	change(&out)
	return &out
}

// Every field of a request that decides what is called decides the fingerprint.
// A field that is added to the contract fails here until it is thought of.
func TestEveryFieldCounts(t *testing.T) {
	ignored := map[string]bool{"Version": true, "ID": true, "NotAfter": true}
	m := newMarker(markerConfig(func(c *Config) {
		c.Accounts["mainx"] = AccountConfig{AccountSID: markerOtherSID}
	}))
	changed := 0
	for name, req := range pinnedRequests() {
		before := m.body(req)
		eachChange(reflect.ValueOf(req).Elem(), "", func(path string) {
			changed++
			if equal := m.body(req) == before; equal != ignored[path] {
				t.Errorf("%s: a change of %s leaves the body the same: %v, want %v", name, path, equal, ignored[path])
			}
		})
		if m.body(req) != before {
			t.Fatalf("%s was not put back", name)
		}
	}
	if changed < 60 {
		t.Errorf("only %d changes were tried", changed)
	}
}

// eachChange changes one thing after the other somewhere below v, calls check
// and takes the change back.
func eachChange(v reflect.Value, path string, check func(path string)) {
	try := func(value reflect.Value) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		v.Set(value)
		check(path)
		v.Set(old)
	}
	switch {
	case v.Type() == reflect.TypeFor[*time.Time]():
		moment := time.Unix(1, 0)
		if !v.IsNil() {
			moment = v.Interface().(*time.Time).Add(1)
			try(reflect.Zero(v.Type()))
		}
		try(reflect.ValueOf(&moment))
	case v.Kind() == reflect.Pointer && v.IsNil():
		if v.Type().Elem().Kind() == reflect.Int {
			try(reflect.New(v.Type().Elem()))
		}
	case v.Kind() == reflect.Pointer:
		try(reflect.Zero(v.Type()))
		eachChange(v.Elem(), path, check)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			eachChange(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), check)
		}
	case v.Kind() == reflect.Map:
		was := v.Interface().(map[string]string)
		try(reflect.ValueOf(withMark(was, "added")))
		for key, value := range was {
			without := maps.Clone(was)
			delete(without, key)
			try(reflect.ValueOf(without))
			try(reflect.ValueOf(withMark(without, value)))
			other := maps.Clone(was)
			other[key] += "x"
			try(reflect.ValueOf(other))
		}
	case v.Kind() == reflect.Slice:
		was := v.Interface().([]schemas.Field)
		try(reflect.ValueOf(append(slices.Clip(was), schemas.Field{})))
		if len(was) > 1 {
			swapped := slices.Clone(was)
			slices.Reverse(swapped)
			try(reflect.ValueOf(swapped))
			try(reflect.ValueOf(was[1:]))
		}
		for i := range was {
			eachChange(v.Index(i), fmt.Sprintf("%s[%d]", path, i), check)
		}
	case v.Kind() == reflect.Int:
		try(reflect.ValueOf(int(v.Int()) + 1))
		try(reflect.ValueOf(int(v.Int()) + 128))
	default:
		try(reflect.ValueOf(v.String() + "x").Convert(v.Type()))
		if s := v.String(); s != "" {
			try(reflect.ValueOf(s[:len(s)-1]).Convert(v.Type()))
		}
	}
}

// texts that move between neighbours are another request.
func TestCanonicalIsUnambiguous(t *testing.T) {
	fields := func(texts ...string) []schemas.Field {
		var out []schemas.Field
		for pair := range slices.Chunk(texts, 2) {
			out = append(out, schemas.Field{Label: pair[0], Value: pair[1]})
		}
		return out
	}
	seen := map[string]int{}
	for i, c := range []schemas.Create{
		{Details: &schemas.Details{Message: "ab"}},
		{Details: &schemas.Details{Message: "a", Fields: fields("b", "")}},
		{Details: &schemas.Details{Fields: fields("a", "b")}},
		{Details: &schemas.Details{Fields: fields("ab", "")}},
		{Details: &schemas.Details{Fields: fields("a", "", "b", "")}},
		{HiddenDetails: map[string]string{"a": "b"}},
		{HiddenDetails: map[string]string{"ab": ""}},
		{HiddenDetails: map[string]string{"a": "", "b": ""}},
		{HiddenDetails: map[string]string{"b": "a"}},
		{AuthPayload: "ab"},
		{FactorSID: "ab"},
		{Details: &schemas.Details{Message: string([]byte{tagCreatePayload, 1, 'a'})}},
		{Details: &schemas.Details{Message: "m"}, AuthPayload: "a"},
	} {
		text := string(canonical(&schemas.Request{Create: &c}, ""))
		if other, taken := seen[text]; taken {
			t.Errorf("the creates %d and %d are written the same", other, i)
		}
		seen[text] = i
	}
	// What makes the same call is the same request.
	for name, pair := range map[string][2]*schemas.Request{
		"hidden details": {{Create: &schemas.Create{}}, {Create: &schemas.Create{HiddenDetails: map[string]string{}}}},
		"details":        {{Create: &schemas.Create{}}, {Create: &schemas.Create{Details: &schemas.Details{Fields: fields()}}}},
		"list":           {{}, {List: &schemas.List{}}},
	} {
		if string(canonical(pair[0], "")) != string(canonical(pair[1], "")) {
			t.Errorf("%s that are empty are not the same as those left out", name)
		}
	}
}

// However a request's JSON is written, its fingerprint and its mark are the same.
func TestSpellingDoesNotCount(t *testing.T) {
	m := newMarker(markerConfig(withKey))
	names := slices.Sorted(maps.Keys(pinnedRequests()))
	rapid.Check(t, func(t *rapid.T) {
		req := pinnedRequests()[rapid.SampledFrom(names).Draw(t, "request")]
		if req.Create != nil {
			req.Create.HiddenDetails = rapid.MapOf(rapid.String().Filter(func(s string) bool { return s != schemas.MarkerKey }), rapid.String()).
				Filter(func(m map[string]string) bool { return len(m) > 0 && len(schemas.Stringify(m)) < 900 }).Draw(t, "hidden")
		}
		if req.Update != nil {
			req.Update.AuthPayload = rapid.StringN(3, 100, -1).Draw(t, "payload")
		}
		event, err := req.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(event, &tree); err != nil {
			t.Fatal(err)
		}
		s := speller{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))}
		other := s.spell(tree)
		again, _, err := schemas.DecodeRequest([]byte(other))
		if err != nil {
			t.Fatalf("%v in %s", err, other)
		}
		if m.body(again) != m.body(req) || m.mark(again) != m.mark(req) {
			t.Fatalf("%s\nand\n%s\nare not the same", event, other)
		}
	})
}

// speller writes JSON in one of its many ways.
type speller struct{ *rand.Rand }

func (s speller) space() string {
	return []string{"", "", " ", "\n\t", "\r\n"}[s.IntN(5)]
}

func (s speller) spell(v any) string {
	var b strings.Builder
	switch v := v.(type) {
	case map[string]any:
		names := slices.Collect(maps.Keys(v))
		s.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(s.space() + s.text(name) + s.space() + ":" + s.space())
			if at, err := time.Parse(time.RFC3339, fmt.Sprint(v[name])); err == nil && name == "expiration_date" {
				at = at.In(time.FixedZone("", 60*(s.IntN(1200)-600)))
				b.WriteString(strconv.Quote(at.Format("2006-01-02T15:04:05.000000000Z07:00")))
				continue
			}
			b.WriteString(s.spell(v[name]) + s.space())
		}
		return "{" + b.String() + "}"
	case []any:
		for i, item := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(s.space() + s.spell(item) + s.space())
		}
		return "[" + b.String() + "]"
	case string:
		return s.text(v)
	case float64:
		return strconv.FormatFloat(v, 'f', s.IntN(3), 64)
	default:
		return fmt.Sprint(v)
	}
}

// text escapes some characters that need it not.
func (s speller) text(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r < ' ' || r == '"' || r == '\\' || r < 0x10000 && s.IntN(3) == 0:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '/' && s.IntN(2) == 0:
			b.WriteString(`\/`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
