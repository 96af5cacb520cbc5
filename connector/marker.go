package connector

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	stdhash "hash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// marker makes the keyed hashes by which a request is known again: its id in
// the ledger, its body, and the mark that a created challenge carries. They
// depend on the configuration and the request alone, so they are the same after
// a restart and on every instance, and they fit no other deployment and no
// other key. What they hash is pinned by golden values: a change of it makes
// every challenge under way unknown and so is a break of the contract.
//
// It is never changed after newMarker and safe for concurrent use.
type marker struct {
	deployment string
	ids        *keyed // of ids, the same for all accounts, or an id would be new on each
	rings      *keyed // of identities and factors, likewise
	accounts   map[string]accountMarker
	sole       string // name of the only account, which a request may leave out
}

// accountMarker holds what belongs to one account.
type accountMarker struct {
	sid  string // empty: an account that is not configured
	body *keyed // of fingerprints
	mark *keyed // of marks
}

// hash is a keyed hash, cut to 128 bits.
type hash [16]byte

// unkeyed stands in for a marker key where none is configured.
const unkeyed = "countersign: no recovery.marker_key is configured"

// newMarker takes a configuration with its defaults.
func newMarker(cfg Config) *marker {
	secret := cfg.Recovery.MarkerKey.Reveal()
	if secret == "" {
		secret = unkeyed
	}
	root := newKeyed([]byte(secret))
	derive := func(purpose, accountSID string) *keyed {
		return newKeyed(root.sum([]byte("countersign.1 key"), []byte(purpose), []byte(cfg.Recovery.Deployment), []byte(accountSID)))
	}
	m := &marker{deployment: cfg.Recovery.Deployment, ids: derive("id", ""), rings: derive("ring", ""), accounts: map[string]accountMarker{}}
	for name, account := range cfg.Accounts {
		sid := account.AccountSID
		m.accounts[name] = accountMarker{sid: sid, body: derive("body", sid), mark: derive("mark", sid)}
		m.sole = name
	}
	if len(cfg.Accounts) != 1 {
		m.sole = ""
	}
	// Requests for unknown accounts are rejected, but compared all the same.
	m.accounts[""] = accountMarker{body: derive("body", ""), mark: derive("mark", "")}
	return m
}

// idHash is what the ledger knows a request id by.
func (m *marker) idHash(id string) hash { return hash(m.ids.sum([]byte(id))[:len(hash{})]) }

// record is what the ledger knows a record by, beside its coordinates.
func (m *marker) record(h recordHash) recordHash {
	return recordHash(m.ids.sum([]byte("record"), h[:])[:len(h)])
}

// ringHashes are what the guard counts a create by. An identity is the same in
// upper and lower case, and so are SIDs, as the API takes them.
func (m *marker) ringHashes(req *schemas.Request) (identity, factor hash) {
	service, who := []byte(strings.ToLower(req.ServiceSID)), []byte(strings.ToLower(req.Identity))
	identity = hash(m.rings.sum([]byte("identity"), service, who)[:len(hash{})])
	if c := req.Create; c != nil {
		factor = hash(m.rings.sum([]byte("factor"), service, who, []byte(strings.ToLower(c.FactorSID)))[:len(hash{})])
	}
	return identity, factor
}

// body is the fingerprint of everything in the request that decides what is
// called. The id, the version and not_after are not part of it. Two requests
// that differ only in how their JSON is written have the same: order and escapes
// of names, zones of times, an empty object for one that is left out. The
// account counts by its SID, so that it may be renamed.
func (m *marker) body(req *schemas.Request) hash {
	account := m.account(req)
	return hash(account.body.sum(canonical(req, account.sid))[:len(hash{})])
}

// mark is what a created challenge carries in its hidden details: 43 characters
// of the URL alphabet of base64.
func (m *marker) mark(req *schemas.Request) string { return m.markOf(req, m.body(req)) }

// markOf is mark for a request whose fingerprint is known.
func (m *marker) markOf(req *schemas.Request, body hash) string {
	return base64.RawURLEncoding.EncodeToString(m.account(req).mark.sum([]byte(m.deployment), []byte(req.ID), body[:]))
}

func (m *marker) account(req *schemas.Request) accountMarker {
	name := req.Account
	if name == "" {
		name = m.sole
	}
	if account, ok := m.accounts[name]; ok {
		return account
	}
	return m.accounts[""]
}

// withMark returns the hidden details that a create sends: the user's own, which
// never hold schemas.MarkerKey, and the mark. The mark with its key fits into
// schemas.MarkerReserve, so the whole stays within schemas.MaxSerialised.
func withMark(hidden map[string]string, mark string) map[string]string {
	out := make(map[string]string, len(hidden)+1)
	maps.Copy(out, hidden)
	out[schemas.MarkerKey] = mark
	return out
}

// carriesMark reports whether a challenge's hidden details hold that mark, as a
// text and exactly.
func carriesMark(hidden read.Properties, mark string) bool {
	text, ok := hidden.Text(schemas.MarkerKey)
	return ok && hmac.Equal([]byte(text), []byte(mark))
}

// keyed is HMAC-SHA-256 under one key. Each record takes five sums, so what the
// key has made of the hash is kept. It is safe for concurrent use.
type keyed struct{ idle sync.Pool }

func newKeyed(key []byte) *keyed {
	return &keyed{idle: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum is HMAC-SHA-256 over parts, each with its length before it, so that no two
// lists of parts are the same message.
func (k *keyed) sum(parts ...[]byte) []byte {
	h := k.idle.Get().(stdhash.Hash)
	defer k.idle.Put(h)
	h.Reset()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// The tags of a canonical request. A number is never used for anything else,
// not even when its field goes; a new field gets a new one and is left out while
// empty, so that the fingerprints of requests without it stay.
const (
	tagOperation    byte = 1
	tagAccountSID   byte = 2
	tagAccountName  byte = 3 // instead of the SID, where the account is unknown
	tagServiceSID   byte = 4
	tagIdentity     byte = 5
	tagChallengeSID byte = 6

	tagCreateFactor      byte = 16
	tagCreateExpiration  byte = 17
	tagCreateMessage     byte = 18
	tagCreateLabel       byte = 19
	tagCreateValue       byte = 20
	tagCreateHiddenName  byte = 21
	tagCreateHiddenValue byte = 22
	tagCreatePayload     byte = 23

	tagUpdatePayload       byte = 32
	tagUpdateMetadataName  byte = 33
	tagUpdateMetadataValue byte = 34

	tagListFactor    byte = 48
	tagListStatus    byte = 49
	tagListOrder     byte = 50
	tagListPageSize  byte = 51
	tagListPage      byte = 52
	tagListPageToken byte = 53
	tagListLimit     byte = 54
)

// canonical writes a request as tag, length and value of each field that is
// there, in the order of the tags; pairs alternate. No two different requests
// are written the same.
func canonical(req *schemas.Request, accountSID string) []byte {
	b := make([]byte, 0, 512)
	b = appendOptional(b, tagOperation, string(req.Operation))
	if b = appendOptional(b, tagAccountSID, accountSID); accountSID == "" {
		b = appendOptional(b, tagAccountName, req.Account)
	}
	b = appendOptional(b, tagServiceSID, req.ServiceSID)
	b = appendOptional(b, tagIdentity, req.Identity)
	b = appendOptional(b, tagChallengeSID, req.ChallengeSID)
	if c := req.Create; c != nil {
		b = appendOptional(b, tagCreateFactor, c.FactorSID)
		b = appendMoment(b, tagCreateExpiration, c.ExpirationDate)
		if c.Details != nil {
			b = appendOptional(b, tagCreateMessage, c.Details.Message)
			for _, field := range c.Details.Fields {
				b = appendTagged(b, tagCreateLabel, field.Label)
				b = appendTagged(b, tagCreateValue, field.Value)
			}
		}
		b = appendPairs(b, tagCreateHiddenName, tagCreateHiddenValue, c.HiddenDetails)
		b = appendOptional(b, tagCreatePayload, c.AuthPayload)
	}
	if u := req.Update; u != nil {
		b = appendOptional(b, tagUpdatePayload, u.AuthPayload)
		b = appendPairs(b, tagUpdateMetadataName, tagUpdateMetadataValue, u.Metadata)
	}
	if l := req.List; l != nil {
		b = appendList(b, l)
	}
	return b
}

func appendList(b []byte, l *schemas.List) []byte {
	b = appendOptional(b, tagListFactor, l.FactorSID)
	b = appendOptional(b, tagListStatus, l.Status)
	b = appendOptional(b, tagListOrder, l.Order)
	b = appendNumber(b, tagListPageSize, l.PageSize)
	if l.Page != nil { // page zero is not the same as no page
		b = appendNumber(b, tagListPage, *l.Page+1)
	}
	b = appendOptional(b, tagListPageToken, l.PageToken)
	return appendNumber(b, tagListLimit, l.Limit)
}

func appendTagged[T string | []byte](b []byte, tag byte, value T) []byte {
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// appendOptional leaves an empty text out.
func appendOptional(b []byte, tag byte, text string) []byte {
	if text == "" {
		return b
	}
	return appendTagged(b, tag, text)
}

// appendNumber leaves zero out.
func appendNumber(b []byte, tag byte, n int) []byte {
	if n == 0 {
		return b
	}
	return appendTagged(b, tag, binary.AppendVarint(nil, int64(n)))
}

// appendMoment writes the moment, whatever its zone.
func appendMoment(b []byte, tag byte, t *time.Time) []byte {
	if t == nil {
		return b
	}
	value := binary.AppendVarint(nil, t.Unix())
	return appendTagged(b, tag, binary.AppendUvarint(value, uint64(t.Nanosecond())))
}

func appendPairs(b []byte, name, value byte, m map[string]string) []byte {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		b = appendTagged(b, name, key)
		b = appendTagged(b, value, m[key])
	}
	return b
}
