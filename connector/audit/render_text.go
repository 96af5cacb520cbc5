package audit

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	textColumns = 100
	textLabel   = 12 // columns before a line's text
	textShown   = 20 // findings of a kind that are named one by one
)

// Text writes the report for a person at a terminal, in lines of at most 100
// columns. Nothing that comes from events can move the cursor or break a line. Its
// errors are those of w. Safe for concurrent use while nobody changes the report.
func (r *Report) Text(w io.Writer) error {
	p := &textPage{out: bufio.NewWriter(w)}
	p.window(r)
	p.counts(r)
	p.latency(r)
	p.findings(r)
	if r.API != nil {
		p.api(r.API)
	}
	p.line("digest", r.Covered.Root.String())
	p.line("", fmt.Sprintf("over %s; %s", counted(int64(len(r.Covered.Trees)), "tree"), printable(r.Covered.Algorithm)))
	p.line("verdict", r.verdict())
	return p.out.Flush()
}

// textPage keeps the columns. A failed write is kept by its writer until Flush.
type textPage struct{ out *bufio.Writer }

// line writes a text behind a label, and goes on below its beginning where it is
// too long.
func (p *textPage) line(label, text string) { p.indented(label, textLabel, text) }

func (p *textPage) indented(label string, indent int, text string) {
	for i, part := range wrapped(text, textColumns-indent) {
		if i > 0 {
			label = ""
		}
		_, _ = fmt.Fprintf(p.out, "%s\n", strings.TrimRight(fmt.Sprintf("%-*s%s", indent, label, part), " "))
	}
}

// columns is how many a character takes at most: those of East Asia take two.
func columns(c rune) int {
	const firstWide = 0x1100
	if c >= firstWide && c != '\uFFFD' {
		return 2
	}
	return 1
}

// wrapped breaks a text between words, and a word that is too long anywhere.
func wrapped(text string, width int) (lines []string) {
	line, used := []rune(nil), 0
	flush := func() {
		lines, line, used = append(lines, string(line)), nil, 0
	}
	for word := range strings.FieldsSeq(text) {
		size := 0
		for _, c := range word {
			size += columns(c)
		}
		if used > 0 && used+1+size > width {
			flush()
		}
		if used > 0 {
			line, used = append(line, ' '), used+1
		}
		for _, c := range word {
			if used+columns(c) > width {
				flush()
			}
			line, used = append(line, c), used+columns(c)
		}
	}
	if used > 0 || len(lines) == 0 {
		flush()
	}
	return lines
}

func (p *textPage) window(r *Report) {
	w := &r.Window
	p.line("audit", fmt.Sprintf("%s, answered by group %s", printable(w.Topics.Requests), printable(w.Group)))
	p.line("tool", printable(r.Tool))
	p.line("window", w.between())
	p.line("", w.state())
	p.line("results", printable(w.Topics.Results))
	p.line("letters", printable(w.Topics.DeadLetters))
	if w.AnswersUntil != nil {
		p.line("answers", "until "+moment(w.AnswersUntil))
	}
	if w.First != nil || w.Last != nil {
		p.line("requests", moment(w.First)+" to "+moment(w.Last))
	}
	for _, s := range w.Requests {
		p.line("", fmt.Sprintf("partition %d: offsets from %d, before %d", s.Partition, s.From, s.To))
	}
}

func (p *textPage) row(label string, n int64, what string) {
	p.line(label, fmt.Sprintf("%s %s", grouped(n), what))
}

func (p *textPage) counts(r *Report) {
	c := &r.Counts
	p.numbers("counts", []number{
		{"requests", grouped(c.Requests)},
		{"with exactly one answer", grouped(c.AnsweredOnce)},
		{"results", grouped(c.Results)},
		{"dead letters in place of a result", grouped(c.DeadLetters)},
		{"dead letters beside a result", grouped(c.FailedLetters)},
		{"waiting", grouped(c.Waiting)},
		{"unreadable", grouped(c.Unreadable)},
		{"answers gone", grouped(c.AnswersGone)},
		{"challenges", grouped(c.Challenges)},
		{"attempts at the API", grouped(c.Calls)},
	})
	p.numbers("outcomes", counts(c.Outcomes, outcomes()))
	p.numbers("operations", counts(c.Operations, nil))
	p.numbers("classes", counts(c.Classes, nil))
}

// numbers are written below each other, with their last digits in one column.
func (p *textPage) numbers(label string, rows []number) {
	if len(rows) == 0 {
		p.line(label, "none")
	}
	width := 0
	for _, row := range rows {
		width = max(width, len(row.Value))
	}
	for i, row := range rows {
		if i > 0 {
			label = ""
		}
		p.indented(fmt.Sprintf("%-*s%*s", textLabel, label, width, row.Value), textLabel+width+1, row.Name)
	}
}

func (p *textPage) latency(r *Report) {
	if r.Latency.All.Count == 0 {
		p.line("latency", "nothing was called")
		return
	}
	const row = "%-12s%-12s%10s%10s%10s%10s%10s\n"
	_, _ = fmt.Fprintf(p.out, row, "latency", "", "called", "p50", "p90", "p99", "max")
	write := func(name string, of Percentiles) {
		_, _ = fmt.Fprintf(p.out, row, "", cut(name, 11), grouped(of.Count), took(of.P50), took(of.P90), took(of.P99), took(of.Max))
	}
	write("all", r.Latency.All)
	for _, name := range slices.Sorted(maps.Keys(r.Latency.Operations)) {
		write(words(name), r.Latency.Operations[name])
	}
}

// cut keeps a text that should be short from taking the place of others.
func cut(s string, width int) string {
	used := 0
	for i, c := range s {
		if used += columns(c); used > width {
			return s[:i]
		}
	}
	return s
}

func (p *textPage) findings(r *Report) {
	listed := r.byKind()
	p.line("findings", cmp.Or(strings.TrimPrefix(grouped(r.Counts.Found()), "0"), "none"))
	for _, kind := range Kinds() {
		n := max(r.Counts.ByKind[kind], int64(len(listed[kind])))
		if n == 0 {
			continue
		}
		_, _ = fmt.Fprintln(p.out)
		p.indented("", 2, fmt.Sprintf("%s %s: %s", grouped(n), words(string(kind)), kindWords[kind].means))
		shown := listed[kind][:min(len(listed[kind]), textShown)]
		for _, i := range shown {
			p.finding(&r.Findings[i], &r.Window)
		}
		switch more := n - int64(len(shown)); {
		case more == 0:
		case len(listed[kind]) > len(shown) && r.Counts.FindingsLeftOut == 0:
			p.indented("", 4, fmt.Sprintf("... and %s more (--json has them)", grouped(more)))
		case len(listed[kind]) > len(shown):
			p.indented("", 4, fmt.Sprintf("... and %s more (--json has %s in all)", grouped(more), grouped(int64(len(listed[kind])))))
		default:
			p.indented("", 4, fmt.Sprintf("... and %s more that are counted and not listed", grouped(more)))
		}
	}
	_, _ = fmt.Fprintln(p.out)
}

// finding is a line of where it stands, and below it what it is.
func (p *textPage) finding(f *Finding, w *Window) {
	v := newFindingView(f, w)
	head := []string{v.Request, v.Span}
	if v.Request == "" && v.Span == "" {
		head = append(head, v.Records...)
	}
	head = append(head, v.ID, v.Operation, v.Who, v.Time)
	head = slices.DeleteFunc(head, func(s string) bool { return s == "" })
	p.indented("", 4, cmp.Or(strings.Join(head, "  "), "(nowhere)"))
	says := v.Detail + ": " + v.Text
	if v.Request != "" && len(v.Records) > 0 {
		says += beside(says, v.Records)
	}
	if v.SID != "" {
		says += " Challenge " + v.SID + "."
	}
	p.indented("", 6, says)
}

func (p *textPage) api(a *API) {
	p.row("api", a.Compared, fmt.Sprintf("of %s compared, %s without an answer, %s (at most %s)",
		counted(a.Challenges, "challenge"), grouped(a.Failed), counted(a.Calls, "GET request"), grouped(a.Budget)))
	if a.Deleted > 0 {
		p.row("", a.Deleted, "offsets of results were deleted while the audit ran: their challenges are not compared")
	}
	if len(a.Failures) > 0 {
		p.line("", "without an answer:")
		p.numbers("", reasons(a.Failures))
	}
	if len(a.Moves) > 0 {
		p.line("", "status moved on:")
		p.numbers("", counts(a.Moves, nil))
	}
}

// beside names the records that a finding's sentence does not.
func beside(says string, records []string) string {
	rest := slices.DeleteFunc(slices.Clone(records), func(r string) bool { return strings.Contains(says, r) })
	if len(rest) == 0 {
		return ""
	}
	return " With " + strings.Join(rest, ", ") + "."
}
