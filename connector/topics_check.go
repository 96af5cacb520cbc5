package connector

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// TopicFault is a setting of a topic with which the connector does not work.
type TopicFault struct {
	Topic   string
	Setting string // as Kafka calls it, or "partitions"
	Found   string
	Want    string
	Why     string
}

func (f TopicFault) String() string {
	return fmt.Sprintf("topic %s has %s=%s, want %s: %s", f.Topic, f.Setting, f.Found, f.Want, f.Why)
}

// TopicsError says which topics are not fit for what they are for. Nothing is
// called until they are; Faults has at least one element.
type TopicsError struct{ Faults []TopicFault }

// Error implements error.
func (e *TopicsError) Error() string {
	all := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		all[i] = f.String()
	}
	return "connector: " + strings.Join(all, "; ")
}

const (
	settingCleanup   = "cleanup.policy"
	settingRetention = "retention.ms"
	settingBytes     = "retention.bytes"
	settingMaximum   = "max.message.bytes"
	settingSegment   = "segment.bytes"

	// minOwnBytes is what the broker has to take in the topics of our own: a
	// position record holds up to 4 KiB of metadata, and ledger entries, of some
	// hundred bytes each, are written in batches that can be split.
	minOwnBytes = 16 << 10
)

// topicRole is what a topic has to be fit for.
type topicRole struct {
	topic     string
	compacted bool          // it has to be; else it must not be
	deleted   bool          // old records may be deleted
	keep      time.Duration // where they are, not before this
	own       bool          // nobody else writes to it
	why       string        // of the cleanup policy
}

func (c Config) topicRoles() []topicRole {
	t := c.Kafka.Topics
	return []topicRole{
		{topic: t.Requests, deleted: true, why: "compaction removes requests that nobody has answered"},
		{topic: t.Results, deleted: true, why: "compaction removes all results of a key but the last"},
		{topic: t.DeadLetters, deleted: true, why: "compaction removes all dead letters of a key but the last"},
		{topic: t.Ledger, compacted: true, deleted: true, keep: c.Ledger.Horizon, own: true, why: "it remembers each id by its key"},
		{topic: t.Positions, compacted: true, own: true, why: "the last position of a partition is kept for ever"},
	}
}

func (r topicRole) policy() string {
	switch {
	case r.compacted && r.deleted:
		return "compact,delete"
	case r.compacted:
		return "compact"
	default:
		return "delete"
	}
}

// faults are what in a topic's settings breaks a promise. One that the broker
// did not tell is taken for right.
func (r topicRole) faults(settings map[string]string) []TopicFault {
	var out []TopicFault
	fault := func(setting, want, why string) {
		out = append(out, TopicFault{Topic: r.topic, Setting: setting, Found: strconv.Quote(settings[setting]), Want: want, Why: why})
	}
	policies := strings.FieldsFunc(settings[settingCleanup], func(c rune) bool { return c == ',' || c == ' ' })
	compacts, deletes := slices.Contains(policies, "compact"), slices.Contains(policies, "delete")
	if len(policies) > 0 && (compacts != r.compacted || deletes && !r.deleted) {
		fault(settingCleanup, strconv.Quote(r.policy()), r.why)
	}
	if r.keep > 0 && deletes {
		if ms, ok := number(settings[settingRetention]); ok && ms >= 0 && ms < r.keep.Milliseconds() {
			fault(settingRetention, fmt.Sprintf("at least %d, the ledger's horizon", r.keep.Milliseconds()), "an id that is forgotten earlier can be called twice")
		}
		if bytes, ok := number(settings[settingBytes]); ok && bytes >= 0 {
			fault(settingBytes, "-1", "an id that is forgotten before the ledger's horizon can be called twice")
		}
	}
	if setting, limit := narrowest(settings); r.own && limit < minOwnBytes {
		fault(setting, fmt.Sprintf("at least %d", minOwnBytes), "what the connector notes for itself has to fit")
	}
	return out
}

// notice is a setting that costs something and breaks no promise.
func (r topicRole) notice(settings map[string]string) (TopicFault, bool) {
	setting, limit := narrowest(settings)
	if r.own || limit >= kafka.MaxMessageBytes {
		return TopicFault{}, false
	}
	return TopicFault{
		Topic: r.topic, Setting: setting, Found: strconv.Quote(settings[setting]), Want: fmt.Sprintf("at least %d", kafka.MaxMessageBytes),
		Why: "a larger result or dead letter is replaced by one without its payload",
	}, true
}

// narrowest is the setting that bounds a batch the most, and its bytes.
func narrowest(settings map[string]string) (setting string, limit int64) {
	setting, limit = settingMaximum, kafka.MaxMessageBytes
	for _, name := range []string{settingMaximum, settingSegment} {
		if n, ok := number(settings[name]); ok && n < limit {
			setting, limit = name, n
		}
	}
	return setting, limit
}

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// checkSettings compares the topics' settings with what they have to be. Where
// the brokers do not let this user see them, that is said, and no reason to
// stop.
func (c *Connector) checkSettings(ctx context.Context, client *kafka.Client) ([]TopicFault, error) {
	var out []TopicFault
	for _, r := range c.cfg.topicRoles() {
		settings, err := client.TopicSettings(ctx, r.topic, settingCleanup, settingRetention, settingBytes, settingMaximum, settingSegment)
		switch kafka.CodeOf(err) {
		case "":
		case kafka.CodeDenied, kafka.CodeInvalid:
			if c.first("unseen", r.topic) {
				c.log.Warn("the settings of a topic cannot be checked", "topic", r.topic, "error", err)
			}
			continue
		default:
			return nil, err
		}
		out = append(out, r.faults(settings)...)
		if n, ok := r.notice(settings); ok && r.topic != c.cfg.Kafka.Topics.Requests && c.first("small", r.topic) {
			c.log.Warn("a topic takes smaller records than the connector writes", "topic", n.Topic, "setting", n.Setting, "found", n.Found, "want", n.Want, "why", n.Why)
		}
	}
	return out, nil
}

// first reports whether something about a topic is found for the first time.
func (c *Connector) first(what, topic string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = map[string]bool{}
	}
	again := c.said[what+" "+topic]
	c.said[what+" "+topic] = true
	return !again
}
