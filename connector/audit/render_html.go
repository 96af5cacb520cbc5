package audit

import (
	"bufio"
	"cmp"
	"embed"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
)

//go:embed web
var web embed.FS

var page = template.Must(template.New("report.html").ParseFS(web, "web/report.html", "web/report.css"))

// HTML writes the report as one page that needs nothing else: no script, no font,
// no network. The same report gives the same bytes. Whatever comes from events is
// escaped, and what could turn the direction of the text is taken out. Its errors
// are those of w. Safe for concurrent use while nobody changes the report.
func (r *Report) HTML(w io.Writer) error {
	out := bufio.NewWriter(w)
	if err := page.Execute(out, newView(r)); err != nil {
		return err
	}
	return out.Flush()
}

// view is what the template shows: texts that are printable and formatted, since
// a template is no place to decide.
type view struct {
	Topic, Group, Tool, Version string
	Verdict, Tone               string
	Between, State              string
	Records, First, Last        string
	AnswersUntil                string
	NotAfter, LateTolerance     string
	Skew, Identities            string
	Topics                      Topics
	Spans                       []spanView
	Tiles                       []tile
	Numbers                     []numbers
	HasSeries                   bool
	Outcomes                    outcomeChart
	HasLatency                  bool
	Latency                     latencyChart
	OutcomeNames                []string
	Buckets                     []bucketView
	Percentiles                 []percentileView
	Kinds                       []kindView
	Listed                      []kindView // those with findings
	Found                       string
	LeftOut                     string
	API                         []numbers
	Moves                       []number
	Algorithm, Root             string
	Trees                       []treeView
}

type spanView struct{ Partition, From, To, Offsets string }

type tile struct{ Name, Value, Note string }

// number is a name with its value; numbers are some under a title.
type (
	number  struct{ Name, Value string }
	numbers struct {
		Title string
		Rows  []number
	}
)

type bucketView struct {
	At, Called, P50, P90, P99 string
	Counts                    []string
}

type percentileView struct{ Name, Count, P50, P90, P99, Max string }

type kindView struct {
	ID, Title, Means, Count, Share, More string
	Zero, NotLooked                      bool
	Findings                             []findingView
}

type findingView struct {
	Detail, Text       string
	Request            string
	Time               string
	ID, Operation, Who string
	Span, Count        string
	SID                string
	Records            []string
}

type treeView struct {
	Topic, Partition, Records, First, Last, Root, Block string
	Blocks                                              []number
}

func newView(r *Report) *view {
	w := &r.Window
	v := &view{
		Topic: printable(w.Topics.Requests), Group: printable(w.Group), Tool: printable(r.Tool), Version: printable(r.Version),
		Verdict: r.verdict(), Tone: r.tone(), Between: w.between(), State: w.state(),
		Records: grouped(w.Records), First: moment(w.First), Last: moment(w.Last), AnswersUntil: "no limit",
		NotAfter: took(w.NotAfter), LateTolerance: took(w.LateTolerance), Skew: took(w.Skew),
		Identities: "in clear",
		Topics:     Topics{Requests: printable(w.Topics.Requests), Results: printable(w.Topics.Results), DeadLetters: printable(w.Topics.DeadLetters)},
		Tiles:      r.tiles(), Numbers: r.numbers(), Found: grouped(r.Counts.Found()),
		Algorithm: printable(r.Covered.Algorithm), Root: r.Covered.Root.String(),
	}
	if w.AnswersUntil != nil {
		v.AnswersUntil = moment(w.AnswersUntil)
	}
	if w.IdentityKey != "" {
		v.Identities = "hashed with key " + printable(w.IdentityKey)
	}
	for _, s := range w.Requests {
		v.Spans = append(v.Spans, spanView{
			Partition: strconv.Itoa(s.Partition), From: strconv.FormatInt(s.From, 10), To: strconv.FormatInt(s.To, 10), Offsets: grouped(s.To - s.From),
		})
	}
	if r.Counts.FindingsLeftOut > 0 {
		v.LeftOut = grouped(r.Counts.FindingsLeftOut)
	}
	v.series(r)
	v.findings(r)
	if r.API != nil {
		v.api(r.API)
	}
	for i := range r.Covered.Trees {
		v.Trees = append(v.Trees, newTreeView(&r.Covered.Trees[i]))
	}
	return v
}

// tone is how the verdict looks: an open window is no fault.
func (r *Report) tone() string {
	switch found := r.Counts.Found(); {
	case found > r.Counts.ByKind[KindOpen]:
		return "bad"
	case found > 0 || !r.Complete():
		return "warn"
	default:
		return "good"
	}
}

func (r *Report) tiles() []tile {
	c := &r.Counts
	return []tile{
		{"Requests", grouped(c.Requests), grouped(c.Unreadable) + " break the contract"},
		{"Answered once", grouped(c.AnsweredOnce), grouped(c.Waiting) + " waiting"},
		{"Findings", grouped(c.Found()), grouped(c.FindingsLeftOut) + " not listed"},
		{"Results", grouped(c.Results), grouped(c.DeadLetters) + " dead letters instead"},
		{"Challenges", grouped(c.Challenges), "made or adopted"},
		{"API calls", grouped(c.Calls), "attempts, as answers tell"},
	}
}

func (r *Report) numbers() []numbers {
	c := &r.Counts
	return []numbers{
		{"Outcomes", counts(c.Outcomes, outcomes())},
		{"Operations", counts(c.Operations, nil)},
		{"Error classes", counts(c.Classes, nil)},
		{"Records", []number{
			{"dead letters beside a result", grouped(c.FailedLetters)},
			{"dead letters in place of one", grouped(c.DeadLetters)},
			{"offsets without data", grouped(c.NoData)},
			{"answers gone", grouped(c.AnswersGone)},
		}},
	}
}

// counts are a map's, those named first in their order and the others by name.
func counts[K ~string](of map[K]int64, first []string) (rows []number) {
	keys := slices.SortedFunc(maps.Keys(of), func(a, b K) int {
		place := func(k K) int {
			if i := slices.Index(first, string(k)); i >= 0 {
				return i
			}
			return len(first)
		}
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	})
	for _, k := range keys {
		rows = append(rows, number{words(string(k)), grouped(of[k])})
	}
	return rows
}

// reasons are sentences with their numbers.
func reasons(of map[string]int64) (rows []number) {
	for _, why := range slices.Sorted(maps.Keys(of)) {
		rows = append(rows, number{printable(why), grouped(of[why])})
	}
	return rows
}

func (v *view) series(r *Report) {
	s := &r.Series
	v.HasSeries = len(s.Buckets) > 0
	if !v.HasSeries {
		return
	}
	v.Outcomes = s.outcomeChart()
	v.Latency, v.HasLatency = s.latencyChart()
	names := s.outcomeNames()
	for _, name := range names {
		v.OutcomeNames = append(v.OutcomeNames, words(name))
	}
	for i, b := range s.Buckets {
		row := bucketView{At: s.label(i), Called: grouped(b.Latency.Count), P50: took(b.Latency.P50), P90: took(b.Latency.P90), P99: took(b.Latency.P99)}
		if b.Latency.Count == 0 {
			row.P50, row.P90, row.P99 = "–", "–", "–"
		}
		for _, name := range names {
			row.Counts = append(row.Counts, grouped(b.Outcomes[name]))
		}
		v.Buckets = append(v.Buckets, row)
	}
	add := func(name string, p Percentiles) {
		v.Percentiles = append(v.Percentiles, percentileView{name, grouped(p.Count), took(p.P50), took(p.P90), took(p.P99), took(p.Max)})
	}
	add("all", r.Latency.All)
	for _, name := range slices.Sorted(maps.Keys(r.Latency.Operations)) {
		add(words(name), r.Latency.Operations[name])
	}
}

func (v *view) findings(r *Report) {
	most := int64(1)
	for _, n := range r.Counts.ByKind {
		most = max(most, n)
	}
	listed := r.byKind()
	for _, kind := range Kinds() {
		n := r.Counts.ByKind[kind]
		k := kindView{
			ID: string(kind), Title: kindWords[kind].title, Means: kindWords[kind].means, Count: grouped(n), Zero: n == 0,
			Share:     strconv.FormatFloat(100*float64(n)/float64(most), 'f', 2, 64) + "%",
			NotLooked: r.API == nil && (kind == KindAPIMissing || kind == KindAPIStatus || kind == KindAPIChanged),
		}
		for _, f := range listed[kind] {
			k.Findings = append(k.Findings, newFindingView(&r.Findings[f], &r.Window))
		}
		if more := n - int64(len(k.Findings)); more > 0 {
			k.More = grouped(more)
		}
		v.Kinds = append(v.Kinds, k)
		if n > 0 || len(k.Findings) > 0 {
			v.Listed = append(v.Listed, k)
		}
	}
}

// byKind are the indexes of the findings of each kind.
func (r *Report) byKind() map[Kind][]int {
	out := map[Kind][]int{}
	for i := range r.Findings {
		out[r.Findings[i].Kind] = append(out[r.Findings[i].Kind], i)
	}
	return out
}

func newFindingView(f *Finding, w *Window) findingView {
	v := findingView{Detail: words(string(f.Detail)), Text: printable(f.Text), SID: printable(f.ChallengeSID)}
	if q := f.Request; q != nil {
		v.Request, v.ID, v.Operation, v.Who = q.at(), printable(q.ID), words(string(q.Operation)), printable(q.Identity)
		if q.Timestamp != nil {
			v.Time = moment(q.Timestamp)
		}
	}
	for _, p := range f.Records {
		v.Records = append(v.Records, p.at())
	}
	if f.Span != nil {
		v.Span = f.Span.of(w.Topics.Requests)
	}
	if f.Count > 0 {
		v.Count = grouped(f.Count)
	}
	return v
}

func (v *view) api(a *API) {
	v.API = []numbers{{Title: "Comparison with the API", Rows: []number{
		{"challenges of the window", grouped(a.Challenges)},
		{"compared", grouped(a.Compared)},
		{"without an answer", grouped(a.Failed)},
		{"GET requests", grouped(a.Calls)},
		{"at most", grouped(a.Budget)},
		{"offsets of results deleted meanwhile", grouped(a.Deleted)},
	}}}
	if len(a.Failures) > 0 {
		v.API = append(v.API, numbers{Title: "Without an answer of the API", Rows: reasons(a.Failures)})
	}
	v.Moves = counts(a.Moves, nil)
}

func newTreeView(t *Tree) treeView {
	v := treeView{
		Topic: printable(t.Topic), Partition: strconv.Itoa(t.Partition), Records: grouped(t.Records),
		First: strconv.FormatInt(t.First, 10), Last: strconv.FormatInt(t.Last, 10), Root: t.Root.String(), Block: grouped(t.Block),
	}
	for _, b := range t.Blocks {
		v.Blocks = append(v.Blocks, number{strconv.FormatInt(b.First, 10), b.Hash.String()})
	}
	return v
}
