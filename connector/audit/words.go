package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/schemas"
)

// bareLetter is what a Bucket counts dead letters in place of a result as.
const bareLetter = "dead_letter"

// outcomes are in the order in which they are shown: best first.
func outcomes() []string {
	return []string{
		string(schemas.OutcomeSucceeded), string(schemas.OutcomeAdopted), string(schemas.OutcomeDuplicate),
		string(schemas.OutcomeRejected), string(schemas.OutcomeExpired), string(schemas.OutcomeFailed), bareLetter,
	}
}

// kindWords say what a kind is to somebody who has not read the documents.
var kindWords = map[Kind]struct{ title, means string }{
	KindMissing:     {"Missing", "a request without an answer, or without a part of one"},
	KindDuplicate:   {"Duplicate", "the same answer twice, or one intent carried out twice"},
	KindConflicting: {"Conflicting", "answers that contradict each other or their request"},
	KindLate:        {"Late", "a call behind the request's deadline"},
	KindOrphan:      {"Orphan", "an answer without a request"},
	KindSchema:      {"Schema violation", "a record that is neither a result nor a dead letter"},
	KindGap:         {"Gap", "offsets or answers that are not there any more"},
	KindOpen:        {"Open window", "requests that are not worked off yet"},
	KindAPIMissing:  {"Not at the API", "a recorded challenge that the API does not know"},
	KindAPIStatus:   {"Status at the API", "a status there that contradicts the recorded one"},
	KindAPIChanged:  {"Changed at the API", "a field that never changes, and has"},
}

// details says which kind each detail belongs to.
var details = map[Detail]Kind{
	DetailNoAnswer: KindMissing, DetailNoPage: KindMissing, DetailNoDeadLetter: KindMissing,
	DetailAnsweredTwice: KindDuplicate, DetailIDTwice: KindDuplicate, DetailLetterTwice: KindDuplicate,
	DetailSIDTwice: KindConflicting, DetailTwoAnswers: KindConflicting, DetailOtherRequest: KindConflicting,
	DetailOtherRecord: KindConflicting, DetailNotAnswerable: KindConflicting, DetailLetterUnfailed: KindConflicting,
	DetailSentLate:  KindLate,
	DetailNoRequest: KindOrphan, DetailElsewhere: KindOrphan, DetailOtherGroup: KindOrphan,
	DetailNotAResult: KindSchema, DetailNotALetter: KindSchema,
	DetailRetention: KindGap, DetailAbsent: KindGap, DetailAnswersGone: KindGap,
	DetailNotWorkedOff: KindOpen, DetailNotEnded: KindOpen,
	DetailNotFound: KindAPIMissing, DetailStatusDrift: KindAPIStatus, DetailFieldsChanged: KindAPIChanged,
}

// printable keeps what strangers wrote from moving the cursor, breaking the line
// or turning the direction of the text around it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// words is an identifier of the report for a person: "no_answer" as "no answer".
func words(name string) string { return printable(strings.ReplaceAll(name, "_", " ")) }

// grouped is a number with a comma between groups of three digits.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// counted is a number with its noun, which takes an s where it is not one.
func counted(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return grouped(n) + " " + noun
}

// moment is a time for a person, in UTC. Nil: none is known.
func moment(t *time.Time) string {
	if t == nil {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05.999Z")
}

// took is a duration with as many digits as tell something.
func took(d Duration) string {
	t := time.Duration(d)
	switch {
	case t < 0:
		return t.String()
	case t == 0:
		return "0 s"
	case t < time.Millisecond:
		return fmt.Sprintf("%.3g ms", t.Seconds()*1e3)
	case t < time.Second:
		return fmt.Sprintf("%.0f ms", t.Seconds()*1e3)
	case t < 10*time.Second:
		return fmt.Sprintf("%.2f s", t.Seconds())
	case t < time.Minute:
		return fmt.Sprintf("%.1f s", t.Seconds())
	default:
		return t.Round(time.Second).String()
	}
}

// at is where a record stands, as in topic/partition@offset.
func (p Place) at() string {
	return printable(fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset))
}

// of names the span's offsets in a topic.
func (s OffsetSpan) of(topic string) string {
	return printable(fmt.Sprintf("%s/%d@%d to %d", topic, s.Partition, s.From, max(s.To-1, s.From)))
}

// verdict is the report in one sentence.
func (r *Report) verdict() string {
	said := r.found()
	if !r.Complete() {
		said += "; the comparison with the API is not complete"
	}
	return said
}

func (r *Report) found() string {
	found, c := r.Counts.Found(), &r.Counts
	switch {
	case found > 0:
		var parts []string
		for _, k := range Kinds() {
			if n := c.ByKind[k]; n > 0 {
				parts = append(parts, grouped(n)+" "+words(string(k)))
			}
		}
		return "not clean: " + strings.Join(parts, ", ")
	case c.Requests == 0:
		return "clean: the window holds no request, and nothing was found"
	case c.AnsweredOnce == c.Requests && c.Requests == 1:
		return "clean: the one request has exactly one answer"
	case c.AnsweredOnce == c.Requests:
		return fmt.Sprintf("clean: every one of %s requests has exactly one answer", grouped(c.Requests))
	default:
		return fmt.Sprintf("nothing was found; %s of %s requests have exactly one answer", grouped(c.AnsweredOnce), grouped(c.Requests))
	}
}

// between is the window's span of time, or that it is one of offsets.
func (w *Window) between() string {
	switch {
	case w.From == nil && w.To == nil:
		return "all offsets listed"
	case w.From == nil:
		return "from the log's start to " + moment(w.To)
	case w.To == nil:
		return "from " + moment(w.From) + " on"
	default:
		return moment(w.From) + " to " + moment(w.To)
	}
}

func (w *Window) state() string {
	if w.Closed {
		return "closed: the group has worked off all of it"
	}
	return "open: the group has not worked off all of it"
}
