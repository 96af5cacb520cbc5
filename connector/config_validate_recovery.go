package connector

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	deliveries  = []Delivery{DeliveryExactlyOnce, DeliveryAtLeastOnce}
	acceptances = []Acceptance{AcceptLostOffsets, AcceptRecreatedTopic, AcceptPartitionCount}
)

func (d Delivery) validate(v *configCheck) {
	if !slices.Contains(deliveries, d) {
		v.add("delivery", "must be %s", alternatives(deliveries))
	}
}

func (r RecoveryConfig) validate(v *configCheck, group string) {
	if r.Deployment != group { // else the group's fault is told already
		v.plainName("recovery.deployment", r.Deployment)
	}
	if n := utf8.RuneCountInString(r.MarkerKey.Reveal()); n > 0 && n < minMarkerKey {
		// Not even the length of a secret is told.
		v.add("recovery.marker_key", "must be at least %d characters", minMarkerKey)
	}
	v.duration("recovery.settle", r.Settle, 0, maxSettle)
	v.duration("recovery.apart", r.Apart, minTimeout, maxSettle)
	checkNumber(v, "recovery.max_pages", r.MaxPages, 1, maxPageCap)
	for i, accepted := range r.Accept {
		if !slices.Contains(acceptances, accepted) {
			v.add("recovery.accept["+strconv.Itoa(i)+"]", "must be %s", alternatives(acceptances))
		}
	}
}

// validateSettle: a call may take effect until its timeout, so whoever looks
// sooner proves nothing.
func (c Config) validateSettle(v *configCheck) {
	settle := c.Recovery.Settle
	for _, name := range slices.Sorted(maps.Keys(c.Accounts)) {
		if timeout := c.Accounts[name].Timeout; settle > 0 && settle < timeout {
			v.add("recovery.settle", "must be at least %s.timeout (%s), is %s: a call may take effect until then", accountPath(name), timeout, settle)
		}
	}
}

// alternatives writes a closed list for a message.
func alternatives[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return "one of " + strings.Join(names, ", ")
}
