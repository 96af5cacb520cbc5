package audit

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where the charts are drawn, in the units of the viewBox that web/report.html
// gives them. The margins hold the labels of the axes.
const (
	plotLeft   = 64.0
	plotRight  = 872.0
	plotTop    = 16.0
	plotBottom = 216.0
)

// tick is a labelled line across a chart.
type tick struct{ At, Label string }

// bar is one bucket of the outcomes' chart.
type bar struct {
	Title string
	Parts []barPart
}

type barPart struct{ Class, X, Y, W, H string }

// outcomeChart is what the page shows of Series.Buckets.Outcomes.
type outcomeChart struct {
	Desc   string
	Legend []legend
	Bars   []bar
	X, Y   []tick
}

type legend struct{ Class, Name, Total string }

// latencyChart is what the page shows of Series.Buckets.Latency.
type latencyChart struct {
	Desc  string
	Lines []latencyLine
	X, Y  []tick
}

type latencyLine struct {
	Class, Name, Path string
	Dots              []dot
	LabelY            string
}

type dot struct{ X, Y, Title string }

// unit writes a coordinate: two decimals are finer than any screen.
func unit(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// at is when a bucket begins; it reports false where that can not be told.
func (s *Series) at(i int) (time.Time, bool) {
	if s.Start == nil || s.Width <= 0 || float64(i)*float64(s.Width) > math.MaxInt64 {
		return time.Time{}, false
	}
	return s.Start.UTC().Add(time.Duration(i) * time.Duration(s.Width)), true
}

// label names a bucket by when it begins.
func (s *Series) label(i int) string {
	t, ok := s.at(i)
	if !ok {
		return "bucket " + strconv.Itoa(i+1)
	}
	return t.Format("2006-01-02 15:04:05Z")
}

// xOf is where a number of buckets from the left ends.
func (s *Series) xOf(buckets float64) float64 {
	return plotLeft + (plotRight-plotLeft)*buckets/float64(max(len(s.Buckets), 1))
}

// timeSteps are the distances between labels that a person can count in.
var timeSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

const (
	day       = 24 * time.Hour
	mostTicks = 7
)

// timeTicks are the round times along the course of the window.
func (s *Series) timeTicks() (ticks []tick) {
	from, ok := s.at(0)
	to, okTo := s.at(len(s.Buckets))
	if !ok || !okTo || !to.After(from) {
		return nil
	}
	total := to.Sub(from)
	step := day
	for step < math.MaxInt64/2 && total/step > mostTicks {
		step *= 2
	}
	for _, fits := range timeSteps {
		if total/fits <= mostTicks {
			step = fits
			break
		}
	}
	format := "15:04"
	switch {
	case step >= day:
		format = "2 Jan"
	case step < time.Minute:
		format = "15:04:05"
	case total > day:
		format = "2 Jan 15:04"
	}
	t := from.Truncate(step)
	if t.Before(from) {
		t = t.Add(step)
	}
	for ; !t.After(to) && len(ticks) <= 2*mostTicks; t = t.Add(step) {
		x := s.xOf(float64(t.Sub(from)) / float64(s.Width))
		ticks = append(ticks, tick{At: unit(x), Label: t.Format(format)})
	}
	return ticks
}

// outcomeNames are the outcomes of all buckets: the known ones first.
func (s *Series) outcomeNames() (names []string) {
	names = outcomes()
	var more []string
	for _, b := range s.Buckets {
		for name := range b.Outcomes {
			if !slices.Contains(names, name) && !slices.Contains(more, name) {
				more = append(more, name)
			}
		}
	}
	slices.Sort(more)
	return append(names, more...)
}

// outcomeClass is the style of an outcome. What comes from a report never is one.
func outcomeClass(name string) string {
	if slices.Contains(outcomes(), name) {
		return "o-" + name
	}
	return "o-other"
}

// roundScale is a step and the number of steps that reach up to a number.
func roundScale(most int64) (step, steps int64) {
	for step = 1; ; step *= 10 {
		for _, m := range []int64{1, 2, 5} {
			if (most-1)/(step*m)+1 <= 5 {
				return step * m, max((most-1)/(step*m)+1, 1)
			}
		}
		if step > math.MaxInt64/100 {
			return step, 9
		}
	}
}

func (s *Series) outcomeChart() (c outcomeChart) {
	names := s.outcomeNames()
	totals := map[string]int64{}
	most := int64(0)
	for _, b := range s.Buckets {
		sum := int64(0)
		for _, name := range names {
			totals[name] += b.Outcomes[name]
			sum += b.Outcomes[name]
		}
		most = max(most, sum)
	}
	step, steps := roundScale(most)
	scale := (plotBottom - plotTop) / (float64(step) * float64(steps))
	for i := range steps + 1 {
		c.Y = append(c.Y, tick{At: unit(plotBottom - float64(i*step)*scale), Label: grouped(i * step)})
	}
	c.X = s.timeTicks()
	for i, b := range s.Buckets {
		x, w := s.xOf(float64(i)), s.xOf(1)-plotLeft
		gap := min(w/5, 2)
		drawn, y := bar{}, plotBottom
		var says []string
		for _, name := range names {
			n := b.Outcomes[name]
			if n <= 0 {
				continue
			}
			h := float64(n) * scale
			y -= h
			drawn.Parts = append(drawn.Parts, barPart{Class: outcomeClass(name), X: unit(x + gap/2), Y: unit(y), W: unit(w - gap), H: unit(h)})
			says = append(says, grouped(n)+" "+words(name))
		}
		if len(says) > 0 {
			drawn.Title = s.label(i) + ": " + strings.Join(says, ", ")
			c.Bars = append(c.Bars, drawn)
		}
	}
	var sums []string
	for _, name := range names {
		if totals[name] > 0 {
			c.Legend = append(c.Legend, legend{Class: outcomeClass(name), Name: words(name), Total: grouped(totals[name])})
			sums = append(sums, grouped(totals[name])+" "+words(name))
		}
	}
	c.Desc = fmt.Sprintf("%s of %s each. In all: %s.", counted(int64(len(s.Buckets)), "bar"), took(s.Width), strings.Join(sums, ", "))
	return c
}

// percentiles that are drawn, the lowest first.
var drawnPercentiles = []struct {
	class, name string
	of          func(Percentiles) Duration
}{
	{"p50", "p50", func(p Percentiles) Duration { return p.P50 }},
	{"p90", "p90", func(p Percentiles) Duration { return p.P90 }},
	{"p99", "p99", func(p Percentiles) Duration { return p.P99 }},
}

// logScale are the round times, 1, 2 or 5 times a power of ten, from below the
// least to above the greatest of what was measured.
func logScale(least, most float64) (steps []float64) {
	const finest = 1e-6 // seconds
	least, most = max(least, finest), max(most, finest)
	for power := -6; power <= 10; power++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow10(power)
			next := map[float64]float64{1: 2, 2: 2.5, 5: 2}[m] * v
			if next > least && (len(steps) == 0 || steps[len(steps)-1] < most) {
				steps = append(steps, v)
			}
		}
	}
	if len(steps) == 1 {
		steps = append(steps, 10*steps[0])
	}
	return steps
}

// latencyChart draws on a logarithmic scale: the slow tail must not flatten the rest.
func (s *Series) latencyChart() (c latencyChart, drawn bool) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, b := range s.Buckets {
		if b.Latency.Count > 0 {
			for _, p := range drawnPercentiles {
				v := time.Duration(p.of(b.Latency)).Seconds()
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if most < least {
		return c, false
	}
	steps := logScale(least, most)
	low, high := math.Log(steps[0]), math.Log(steps[len(steps)-1])
	yOf := func(seconds float64) float64 {
		at := (math.Log(max(seconds, steps[0])) - low) / (high - low)
		return plotBottom - min(at, 1)*(plotBottom-plotTop)
	}
	for _, v := range steps {
		// Three lines a decade are too many where there are many decades.
		if len(steps) > 8 && !decade(v) {
			continue
		}
		c.Y = append(c.Y, tick{At: unit(yOf(v)), Label: scaleLabel(v)})
	}
	c.X = s.timeTicks()
	c.Desc = fmt.Sprintf("Percentiles of the time from request to outcome, on a logarithmic scale, over %s of %s.", counted(int64(len(s.Buckets)), "bucket"), took(s.Width))
	below := math.Inf(1)
	for _, p := range drawnPercentiles {
		line, last := s.latencyLine(p.class, p.name, p.of, yOf)
		// Labels keep a line's height apart, the lower percentile the lower one.
		last = min(last, below-14)
		below = last
		line.LabelY = unit(last + 4)
		c.Lines = append(c.Lines, line)
	}
	return c, true
}

// latencyLine is one percentile; a bucket without calls interrupts it.
func (s *Series) latencyLine(class, name string, of func(Percentiles) Duration, yOf func(float64) float64) (line latencyLine, last float64) {
	line = latencyLine{Class: class, Name: name}
	var path strings.Builder
	joined := false
	for i, b := range s.Buckets {
		if b.Latency.Count <= 0 {
			joined = false
			continue
		}
		x, y := s.xOf(float64(i)+0.5), yOf(time.Duration(of(b.Latency)).Seconds())
		command := byte('M')
		if joined {
			command = 'L'
		}
		path.WriteByte(command)
		path.WriteString(unit(x) + " " + unit(y))
		line.Dots = append(line.Dots, dot{X: unit(x), Y: unit(y), Title: s.label(i) + ": " + name + " " + took(of(b.Latency))})
		joined, last = true, y
	}
	line.Path = path.String()
	return line, last
}

func decade(v float64) bool {
	log := math.Log10(v)
	return math.Abs(log-math.Round(log)) < 1e-9
}

// scaleLabel writes a time of the scale in the unit that it is said in.
func scaleLabel(seconds float64) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	switch {
	case seconds < 1e-3:
		return number(seconds*1e6) + " µs"
	case seconds < 1:
		return number(seconds*1e3) + " ms"
	case seconds < 1e4:
		return number(seconds) + " s"
	default:
		return strconv.FormatFloat(seconds, 'e', 0, 64) + " s"
	}
}
