package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// settings of a target that are judged. What a target is made with beside them is
// the brokers' to choose.
const (
	policy    = "cleanup.policy"
	clock     = "message.timestamp.type"
	retention = "retention.ms"
)

// made are the settings of a target that is made. A cluster's defaults may be others.
// What is replayed is old, by its timestamps: where it was deleted by age, it would be
// gone at once.
func made() map[string]string {
	return map[string]string{policy: "delete", clock: "CreateTime", retention: "-1"}
}

// target judges the topic that is written to. It has so many partitions; 0: it does
// not exist.
func (p *plan) target(ctx context.Context, r Reader) (n int, err error) {
	n, err = r.Partitions(ctx, p.cfg.Target)
	if kafka.CodeOf(err) == kafka.CodeUnknownTopic {
		return 0, nil
	}
	if err != nil {
		return 0, kafkaFailed(ctx, err)
	}
	p.spread = 0
	if n < p.partitions {
		p.spread = n
	}
	has, err := r.TopicSettings(ctx, p.cfg.Target, policy, clock, retention)
	if kafka.CodeOf(err) == kafka.CodeUnknownTopic {
		return 0, nil
	}
	if err != nil {
		return 0, kafkaFailed(ctx, err)
	}
	if strings.Contains(has[policy], "compact") {
		return n, invalid("%s is compacted: results of one key would replace each other", p.cfg.Target)
	}
	if has[clock] == "LogAppendTime" {
		return n, invalid("%s has %s=LogAppendTime: the records would lose their timestamps", p.cfg.Target, clock)
	}
	return n, p.keeps(has)
}

// keeps judges how long the target keeps what it gets.
func (p *plan) keeps(has map[string]string) error {
	age := time.Since(p.oldest)
	ms, unknown := strconv.ParseInt(has[retention], 10, 64)
	limited := unknown == nil && ms >= 0 && strings.Contains(has[policy], "delete")
	if !limited || p.oldest.IsZero() || ms >= age.Milliseconds() {
		return nil
	}
	return invalid("%s has %s=%d (%s), and the first record to copy is of %s, %s ago: what is older than the limit is deleted as soon as it is written. Set %s=-1, or a longer one",
		p.cfg.Target, retention, ms, days(ms), p.oldest.UTC().Format(time.RFC3339), days(age.Milliseconds()), retention)
}

// days tells milliseconds to a person.
func days(ms int64) string {
	const day = 24 * 60 * 60 * 1000
	if ms >= 2*day {
		return fmt.Sprintf("%d days", ms/day)
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// make makes the target, and judges what is there then: somebody else may have made
// it just before, and brokers may have settings of their own.
func (p *plan) make(ctx context.Context, c Cluster) error {
	spec := kafka.TopicSpec{Name: p.cfg.Target, Partitions: p.partitions, Configs: made()}
	if err := c.EnsureTopics(ctx, []kafka.TopicSpec{spec}); err != nil {
		return kafkaFailed(ctx, err)
	}
	// Not every broker knows at once of a topic that one has made.
	for paused := time.Duration(0); paused < patience; paused += retryPause {
		if n, err := p.target(ctx, c); n > 0 || err != nil {
			return err
		}
		if !waited(ctx, retryPause) {
			break
		}
	}
	return kafkaFailed(ctx, &kafka.Error{Code: kafka.CodeUnknownTopic, Op: "metadata of " + p.cfg.Target, Err: errNotMade})
}

// holds judges the target, and whether it still has what this replay has written to it.
// One that was deleted since would get the rest alone. Its length tells it: where others
// have written as much since, it can't be told.
func (p *plan) holds(ctx context.Context, r Reader) error {
	var all int64
	for _, n := range p.taken {
		all += n
	}
	// A broker may not know of the target for a moment, and a new leader may lag.
	for paused := time.Duration(0); ; paused += retryPause {
		lacks, err := p.lacks(ctx, r, all)
		if err != nil || lacks == "" {
			return err
		}
		if paused >= lagging {
			return badState("%s: it was deleted, or has lost some; begin anew", lacks)
		}
		if p.cfg.Progress != nil {
			p.cfg.Progress(p.report.progress(errors.New(lacks)))
		}
		if !waited(ctx, retryPause) {
			return kafkaFailed(ctx, ctx.Err())
		}
	}
}

// lacks judges the target and says what it lacks of the offsets that this replay has
// taken in it; nothing: it has them all.
func (p *plan) lacks(ctx context.Context, r Reader, all int64) (string, error) {
	n, err := p.target(ctx, r)
	if err != nil {
		return "", err
	}
	p.report.Makes = n == 0
	if all == 0 {
		return "", nil
	}
	if n == 0 {
		return fmt.Sprintf("%s does not exist, and this replay has written to it", p.cfg.Target), nil
	}
	ends := int64(0)
	for partition := 0; partition < n && err == nil; partition++ {
		var end int64
		end, err = r.HighWatermark(ctx, p.cfg.Target, partition)
		ends += end
	}
	if err != nil && kafka.CodeOf(err) != kafka.CodeUnknownTopic {
		return "", kafkaFailed(ctx, err)
	}
	if ends < all {
		return fmt.Sprintf("%s ends behind %d offsets, and this replay has taken %d of it", p.cfg.Target, ends, all), nil
	}
	return "", nil
}

// others judges whether the target is a topic that connectors live from, and the
// group somebody else's, whatever they are called: by what the results tell, and by
// where groups have committed offsets.
func (p *plan) others(ctx context.Context, r Reader) error {
	if slices.Contains(p.requests, p.cfg.Target) {
		return invalid("%s is a live topic: its requests are what the results of %s answer", p.cfg.Target, p.cfg.Source)
	}
	topics := p.requests
	if !p.report.Makes {
		topics = append(slices.Clone(topics), p.cfg.Target)
		for _, group := range p.cfg.Connectors {
			if has, err := consumed(ctx, r, group, p.cfg.Target); err != nil {
				return err
			} else if has {
				return invalid("%s is a live topic: the group %s has committed offsets on it", p.cfg.Target, group)
			}
		}
	}
	for _, topic := range topics {
		if has, err := consumed(ctx, r, p.cfg.Group, topic); err != nil {
			return err
		} else if has {
			return invalid("the group %s has committed offsets on %s: it is a consumer's, not a replay's; give another one", p.cfg.Group, topic)
		}
	}
	return nil
}

// consumed reports that a group has committed an offset on a topic that is no
// replay's. Where that may not be read, or the topic is gone, nothing is known, and
// nothing is asked for: a replay can do with fewer rights than a connector.
func consumed(ctx context.Context, r Reader, group, topic string) (bool, error) {
	committed, err := r.Committed(ctx, group, topic)
	switch kafka.CodeOf(err) {
	case kafka.CodeDenied, kafka.CodeUnknownTopic:
		return false, nil
	}
	for _, at := range committed {
		if _, ours := readState(at.Metadata); at.Offset >= 0 && !ours {
			return true, nil
		}
	}
	return false, kafkaFailed(ctx, err)
}

// A look at what is to be copied, before anything is: so much of each partition.
const lookBytes = 64 << 10

// look reads the first records that are to be copied, of each partition. It tells how
// old they are, and from where the requests came that they answer.
func (p *plan) look(ctx context.Context, r Reader) error {
	for _, at := range p.report.Partitions {
		cursor := r.Cursor(p.cfg.Source, at.Partition, at.Next, at.To, lookBytes)
		for {
			page, more, err := cursor.Next(ctx)
			if kafka.CodeOf(err) == kafka.CodeOutOfRange {
				return p.gone(at.Partition, cursor.Offset())
			}
			if err != nil {
				return kafkaFailed(ctx, err)
			}
			for i := range page.Records {
				p.note(&page.Records[i])
			}
			if !more || len(page.Records) > 0 {
				break
			}
		}
	}
	return nil
}

func (p *plan) note(rec *kafka.Record) {
	if p.oldest.IsZero() || rec.Timestamp.Before(p.oldest) {
		p.oldest = rec.Timestamp
	}
	var result struct {
		Request struct {
			Topic string `json:"topic"`
		} `json:"request"`
	}
	// What can't be read is copied as it is, and tells nothing here.
	if err := json.Unmarshal(rec.Value, &result); err == nil && result.Request.Topic != "" && !slices.Contains(p.requests, result.Request.Topic) {
		p.requests = append(p.requests, result.Request.Topic)
	}
}
