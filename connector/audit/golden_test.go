package audit

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

var update = flag.Bool("update", false, "write the golden reports instead of comparing with them")

var began = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)

// grownTree is a tree over n records from an offset on.
func grownTree(topic string, partition int, first int64, n int) Tree {
	var t tree
	for i := range n {
		t.add(first+int64(i), sha256.Sum256(fmt.Appendf(nil, "%s/%d@%d", topic, partition, i)))
	}
	return t.end(topic, partition)
}

func percentiles(n int64, p50, p90, p99, most time.Duration) Percentiles {
	return Percentiles{Count: n, P50: Duration(p50), P90: Duration(p90), P99: Duration(p99), Max: Duration(most)}
}

// cleanReport is of an hour in which all went well.
func cleanReport() *Report {
	r := &Report{
		Version: ReportVersion, Tool: "v1.4.0",
		Window: Window{
			From: new(began), To: new(began.Add(time.Hour)), Group: "countersign", Closed: true, Records: 4380,
			Topics:   Topics{Requests: "challenge.requests", Results: "challenge.results", DeadLetters: "challenge.deadletters"},
			Requests: []OffsetSpan{{0, 18200, 19660}, {1, 17990, 19450}, {2, 18411, 19871}},
			Gone:     []OffsetSpan{},
			First:    new(began.Add(213 * time.Millisecond)), Last: new(began.Add(time.Hour - 871*time.Millisecond)),
			NotAfter: Duration(5 * time.Minute), Skew: Duration(10 * time.Minute), LateTolerance: Duration(2 * time.Second), IdentityKey: "3f9a1c20", MaxFindings: 1000,
		},
		Findings: []Finding{},
		Counts: Counts{
			Requests: 4380, Results: 4380, AnsweredOnce: 4380, Calls: 4391, Challenges: 2790, NoData: 61,
			Operations: map[string]int64{"create": 2800, "fetch": 1460, "update": 120},
			Classes:    map[string]int64{"rejected": 22, "invalid": 8},
			ByKind:     map[Kind]int64{},
		},
		Latency: Latency{
			All: percentiles(4370, 131*time.Millisecond, 301*time.Millisecond, 845*time.Millisecond, 1875*time.Millisecond),
			Operations: map[string]Percentiles{
				"create": percentiles(2790, 152*time.Millisecond, 334*time.Millisecond, 901*time.Millisecond, 1875*time.Millisecond),
				"fetch":  percentiles(1460, 74*time.Millisecond, 121*time.Millisecond, 310*time.Millisecond, 733*time.Millisecond),
				"update": percentiles(120, 188*time.Millisecond, 402*time.Millisecond, 811*time.Millisecond, 845*time.Millisecond),
			},
		},
	}
	for _, k := range Kinds() {
		r.Counts.ByKind[k] = 0
	}
	var trees []Tree
	for p, s := range r.Window.Requests {
		trees = append(trees, grownTree("challenge.requests", p, s.From, 1460))
	}
	for p := range 3 {
		trees = append(trees, grownTree("challenge.results", p, 20100, 1460))
	}
	r.Covered = digest(trees)
	r.Series = Series{Start: new(began), Width: Duration(64 * time.Second), Buckets: []Bucket{}}
	for i := range 57 {
		wave := int64(37 + 17*((i*7)%5) + 3*((i*13)%4))
		ms := time.Duration(90+8*((i*11)%9)) * time.Millisecond
		r.Series.Buckets = append(r.Series.Buckets, Bucket{
			Outcomes: map[string]int64{"succeeded": wave, "rejected": int64(i % 3), "duplicate": int64((i * i) % 11 / 9)},
			Latency:  percentiles(wave, ms, ms*2+ms/4, ms*5+ms*time.Duration(i%4), ms*9),
		})
	}
	r.Series.Buckets[56].Outcomes["succeeded"] += 4380 - sumOutcomes(r)
	sumOutcomes(r)
	return r
}

// sumOutcomes counts those of the series, as an audit counts both at once.
func sumOutcomes(r *Report) (sum int64) {
	r.Counts.Outcomes, r.Counts.Results = map[string]int64{}, 0
	for _, b := range r.Series.Buckets {
		for name, n := range b.Outcomes {
			sum += n
			if name != bareLetter {
				r.Counts.Outcomes[name] += n
				r.Counts.Results += n
			}
		}
	}
	r.Counts.DeadLetters = sum - r.Counts.Results
	return sum
}

// findingOf is one of a detail, as an audit would have it.
func findingOf(i int, kind Kind, detail Detail) Finding {
	at := int64(18200 + 37*i)
	f := Finding{Kind: kind, Detail: detail, Request: &Request{
		Place:     Place{Topic: "challenge.requests", Partition: i % 3, Offset: at, Timestamp: new(began.Add(time.Duration(17*i) * time.Second))},
		ID:        fmt.Sprintf("order-%04d", 4100+i),
		Operation: []schemas.Operation{schemas.OperationCreate, schemas.OperationUpdate, schemas.OperationFetch, schemas.OperationList}[i%4],
		Identity:  "5c0be1d7a94f2e63",
	}}
	result := Place{Topic: "challenge.results", Partition: i % 3, Offset: at + 1900}
	switch kind {
	case KindMissing:
		f.Text = "It has neither a result nor a dead letter."
	case KindDuplicate, KindConflicting:
		f.Records = []Place{result, {Topic: result.Topic, Partition: result.Partition, Offset: result.Offset + 4}}
		f.Text = "It was answered once more, 3.1 s after its first answer."
		f.ChallengeSID = fmt.Sprintf("YC5a1c0d3e5f7a9b1c3d5e7f90a2b4%04x", i)
	case KindLate:
		f.Records = []Place{result}
		f.Text = "It was sent 12.4 s behind its deadline."
	case KindOrphan, KindSchema:
		f.Request, f.Records = nil, []Place{result}
		f.Text = "It says that it answers challenge.requests/9@77, which is no request of the window."
	case KindGap, KindOpen:
		f.Request, f.Span, f.Count = nil, &OffsetSpan{i % 3, at, at + 35}, 35
		f.Text = "The group has not committed these offsets."
	default:
		f.Records = []Place{result}
		f.ChallengeSID = fmt.Sprintf("YC5a1c0d3e5f7a9b1c3d5e7f90a2b4%04x", i)
		f.Text = "The record says approved, and the API says pending."
	}
	return f
}

// troubledReport has every kind and detail of finding.
func troubledReport() *Report {
	r := cleanReport()
	all := []Detail{
		DetailNoAnswer, DetailNoPage, DetailNoDeadLetter, DetailAnsweredTwice, DetailLetterTwice, DetailIDTwice, DetailSIDTwice,
		DetailTwoAnswers, DetailOtherRequest, DetailOtherRecord, DetailNotAnswerable, DetailLetterUnfailed, DetailSentLate,
		DetailNoRequest, DetailElsewhere, DetailOtherGroup, DetailNotAResult, DetailNotALetter, DetailRetention, DetailAbsent,
		DetailAnswersGone, DetailNotWorkedOff, DetailNotEnded, DetailNotFound, DetailStatusDrift, DetailFieldsChanged,
	}
	for i, d := range all {
		times := 1
		if d == DetailSentLate {
			times = 23
		}
		for range times {
			r.Findings = append(r.Findings, findingOf(i+len(r.Findings), details[d], d))
		}
	}
	for i := range r.Findings {
		r.Counts.ByKind[r.Findings[i].Kind]++
	}
	r.Counts.ByKind[KindLate] += 12
	r.Counts.FindingsLeftOut = 12
	w := &r.Window
	w.Closed, w.IdentityKey, w.NotEnded = false, "", true
	w.Gone = []OffsetSpan{{0, 18100, 18200}}
	w.WorkedOff = []OffsetSpan{{0, 18200, 19660}, {1, 17990, 19415}, {2, 18411, 19871}}
	w.Results = []OffsetSpan{{0, 19800, 21560}, {1, 19700, 21560}, {2, 19900, 21560}}
	w.DeadLetters = []OffsetSpan{{0, 0, 14}}
	c := &r.Counts
	c.Waiting, c.FailedLetters, c.Unreadable, c.AnswersGone = 35, 14, 11, 3
	c.Classes = map[string]int64{"rejected": 102, "invalid": 18, "expired": 96, "ambiguous": 61, "not_json": 9}
	r.API = &API{Challenges: 2790, Compared: 2771, Calls: 2803, Budget: 5000, Failed: 19, Deleted: 1200, Failures: map[string]int64{`account "shop_2" is not configured`: 12, "the API answered with status 500, code 0": 7}, Moves: map[string]int64{"pending to approved": 1204, "pending to expired": 311}}
	for i := 24; i < 36; i++ { // an outage
		n := int64(i-24) * 2
		b := &r.Series.Buckets[i]
		b.Outcomes = map[string]int64{"succeeded": max(30-n, 0), "adopted": n / 2, "duplicate": 3, "rejected": 4, "expired": 8 + n/3, "failed": 5 + n/4, "dead_letter": int64(i % 3)}
		slow := time.Duration(i-22) * 900 * time.Millisecond
		b.Latency = percentiles(30, slow/3, slow, slow*3, slow*4)
		if i == 29 {
			b.Latency, b.Outcomes = Percentiles{}, map[string]int64{}
		}
	}
	c.Requests = sumOutcomes(r) + c.Waiting + 1
	c.AnsweredOnce, r.Window.Records = c.Requests-62, c.Requests
	return r
}

var goldenReports = map[string]func() *Report{"clean": cleanReport, "troubled": troubledReport}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what it was (-update writes it); it begins\n%.2000s", path, got)
	}
}

func text(t testing.TB, r *Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Text(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func pageOf(t testing.TB, r *Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGoldenReports(t *testing.T) {
	for name, report := range goldenReports {
		data, err := report().Encode()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "report-"+name+".json", data)
		r, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("%s is encoded otherwise once it was decoded: %v", name, err)
		}
		golden(t, "report-"+name+".txt", []byte(text(t, r)))
		golden(t, "report-"+name+".html", []byte(pageOf(t, r)))
		for range 3 {
			if pageOf(t, report()) != pageOf(t, r) || text(t, report()) != text(t, r) {
				t.Fatalf("%s: other bytes for the same report", name)
			}
		}
	}
}

// A detail that the fixture leaves out would be checked by nobody.
func TestTroubledReportIsWhole(t *testing.T) {
	seen := map[Detail]bool{}
	r := troubledReport()
	for _, f := range r.Findings {
		seen[f.Detail] = true
	}
	for d, k := range details {
		if !seen[d] || !slices.Contains(Kinds(), k) {
			t.Errorf("no finding %s of kind %s", d, k)
		}
	}
}
