package emulator

import (
	"cmp"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// key finds an entity.
type key struct{ account, service, identity string }

// key compares identities without regard to case, unless the rules say so.
func (s *store) key(account, service, identity string) key {
	if !s.caseSensitive {
		identity = strings.ToLower(identity)
	}
	return key{account, service, identity}
}

// key is that of the entity which the path names.
func (x *exchange) key(account string) key {
	return x.e.store.key(account, x.route.service, x.route.identity)
}

// store holds the entities in shards. A shard's lock is held only to find, add or
// remove an entity; everything below an entity is under that entity's own lock.
type store struct {
	seed        maphash.Seed
	shards      [64]shard
	credentials sync.Map // credential SID to *factor, push factors only
	entitySeq   atomic.Uint64

	caseSensitive, lowerCase bool // of identities
}

type shard struct {
	mu       sync.RWMutex
	entities map[key]*entity
}

// entity is the owner of factors and challenges. The fields above mu never change.
type entity struct {
	key      key
	sid      string
	identity string // as it was first written, or in lower case
	lowered  bool   // identity is not as it was written
	created  time.Time
	seq      uint64

	mu         sync.Mutex
	deleted    bool
	factors    []*factor
	challenges []*challenge // by creation time, then by order of insertion
	bySID      map[string]*challenge
	nextSeq    uint64
}

func newStore(r Rules) *store {
	s := &store{seed: maphash.MakeSeed(), caseSensitive: r.CaseSensitiveIdentity, lowerCase: r.LowerCaseIdentity}
	for i := range s.shards {
		s.shards[i].entities = map[key]*entity{}
	}
	return s
}

func (s *store) shard(k key) *shard {
	return &s.shards[maphash.Comparable(s.seed, k)%uint64(len(s.shards))]
}

// find returns nil where there is no such entity.
func (s *store) find(k key) *entity {
	sh := s.shard(k)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.entities[k]
}

// hasOtherCase reports whether an entity's key differs in the case of its identity alone.
func (s *store) hasOtherCase(k key) bool {
	return slices.ContainsFunc(s.all(k.account, k.service), func(ent *entity) bool {
		return ent.key != k && strings.EqualFold(ent.key.identity, k.identity)
	})
}

// entitySID makes a SID. The owner of what belongs to nobody has neither
// identity nor SID.
func entitySID(k key) string {
	if k.identity == "" {
		return ""
	}
	return newSID("YE")
}

// add makes the entity, or returns the one that is there already.
func (s *store) add(k key, identity string, now time.Time) (ent *entity, made bool) {
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if ent := sh.entities[k]; ent != nil {
		return ent, false
	}
	shown := identity
	if s.lowerCase {
		shown = strings.ToLower(identity)
	}
	ent = &entity{
		key: k, sid: entitySID(k), identity: shown, lowered: shown != identity, created: now,
		seq: s.entitySeq.Add(1), bySID: map[string]*challenge{},
	}
	sh.entities[k] = ent
	return ent, true
}

// remove deletes an entity with its factors and challenges.
func (s *store) remove(k key) bool {
	sh := s.shard(k)
	sh.mu.Lock()
	ent := sh.entities[k]
	delete(sh.entities, k)
	sh.mu.Unlock()
	if ent == nil {
		return false
	}
	ent.mu.Lock()
	defer ent.mu.Unlock()
	ent.deleted = true
	for _, f := range ent.factors {
		s.credentials.Delete(f.credential)
		f.deleted = true
	}
	return true
}

// all returns the entities of a service in the order of their making.
func (s *store) all(account, service string) []*entity {
	var out []*entity
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		for k, ent := range sh.entities {
			if k.account == account && k.service == service && k.identity != "" {
				out = append(out, ent)
			}
		}
		sh.mu.RUnlock()
	}
	slices.SortFunc(out, func(a, b *entity) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// byCredential returns nil where no live push factor has that credential SID.
func (s *store) byCredential(sid string) *factor {
	if f, ok := s.credentials.Load(sid); ok {
		return f.(*factor) //nolint:forcetypeassert // only factors are stored
	}
	return nil
}

// insert keeps challenges ordered by creation time, then insertion, even where
// the clock steps back. The entity is locked.
func (ent *entity) insert(c *challenge) {
	ent.nextSeq++
	c.seq = ent.nextSeq
	at, _ := slices.BinarySearchFunc(ent.challenges, c, compareChallenges)
	ent.challenges = slices.Insert(ent.challenges, at, c)
	ent.bySID[c.sid] = c
}

func compareChallenges(a, b *challenge) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.seq, b.seq))
}

// factor returns nil where the entity has no such factor. The entity is locked.
func (ent *entity) factor(sid string) *factor {
	for _, f := range ent.factors {
		if f.sid == sid {
			return f
		}
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// newSID returns the prefix and 32 random hex digits.
func newSID(prefix string) string {
	b := make([]byte, 0, 34)
	b = append(b, prefix...)
	for range 2 {
		n := rand.Uint64() //nolint:gosec // names, not secrets
		for range 16 {
			b = append(b, hexDigits[n&15])
			n >>= 4
		}
	}
	return string(b)
}

// isSID reports whether s is the prefix and 32 hex digits of either case.
func isSID(s, prefix string) bool {
	if len(s) != 34 || !strings.HasPrefix(s, prefix) {
		return false
	}
	for _, c := range []byte(s[2:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// isIdentity reports whether s is 8 to 64 characters of alphanumeric groups
// with single dashes between them.
func isIdentity(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	for group := range strings.SplitSeq(s, "-") {
		if group == "" {
			return false
		}
		for _, c := range []byte(group) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}
