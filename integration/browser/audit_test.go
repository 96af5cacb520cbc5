package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/countersign/countersign/connector/audit"
)

// reportPage serves the page of a golden report, and notes what is asked for.
type reportPage struct {
	url    string
	report *audit.Report
	mu     sync.Mutex
	asked  []string
}

func newReportPage(t *testing.T, name string) *reportPage {
	t.Helper()
	chromium(t) // to be skipped before anything is started
	data, err := os.ReadFile(filepath.Join("..", "..", "connector", "audit", "testdata", "report-"+name+".json"))
	must(t, err)
	p := new(reportPage)
	p.report, err = audit.Decode(data)
	must(t, err)
	var body strings.Builder
	must(t, p.report.HTML(&body))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.URL.Path)
		p.mu.Unlock()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(body.String()))
	}))
	t.Cleanup(server.Close)
	p.url = server.URL + "/report.html"
	return p
}

// alone checks that the page was asked for so often, and nothing besides it.
func (p *reportPage) alone(t *testing.T, times int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) != times {
		t.Errorf("%d requests, want %d: %q", len(p.asked), times, p.asked)
	}
	for _, path := range p.asked {
		if path != "/report.html" {
			t.Errorf("the page asks for %s", path)
		}
	}
}

// size is how large an element is drawn.
func size(b *tab, selector string) (width, height float64) {
	b.t.Helper()
	got := eval[[]float64](b, "(r => [r.width, r.height])(document.querySelector("+strconv.Quote(selector)+").getBoundingClientRect())")
	return got[0], got[1]
}

// TestAuditPage: the report's page is whole, readable and alone, on a screen of
// any width, light and dark, and on paper.
func TestAuditPage(t *testing.T) {
	for _, name := range []string{"clean", "troubled"} {
		t.Run(name, func(t *testing.T) {
			p := newReportPage(t, name)
			b := newTab(t, 1280, 860)
			b.do(chromedp.Navigate(p.url))
			if got := eval[int](b, "document.querySelectorAll('tr.finding').length"); got != len(p.report.Findings) {
				t.Errorf("%d rows for %d findings", got, len(p.report.Findings))
			}
			for _, chart := range []string{"#chart-outcomes", "#chart-latency", "#chart-kinds", "#chart-outcomes g rect", "#chart-latency path.p99"} {
				if w, h := size(b, chart); w < 2 || h < 2 {
					t.Errorf("%s is drawn %g by %g pixels", chart, w, h)
				}
			}
			if got := eval[string](b, "[...document.querySelectorAll('svg[role=img]')].filter(s => !s.querySelector('title')?.textContent || !s.querySelector('desc')?.textContent).map(s => s.outerHTML.slice(0, 60)).join()"); got != "" {
				t.Errorf("charts without a text: %s", got)
			}
			clipped := eval[string](b, `[...document.querySelectorAll('svg.chart')].flatMap(s => [...s.querySelectorAll('text')].filter(t => {
				const [a, b] = [s.getBoundingClientRect(), t.getBoundingClientRect()];
				return b.left < a.left - 1 || b.right > a.right + 1 || b.top < a.top - 1 || b.bottom > a.bottom + 1;
			}).map(t => t.textContent)).join()`)
			if clipped != "" {
				t.Errorf("labels that are cut: %s", clipped)
			}
			suits(b, name)
			onPaper(b, len(p.report.Findings))
			b.tabTo("Skip to the verdict")
			b.tabTo("Digest")
			b.quiet()
			p.alone(t, 1)
		})
	}
}

// suits looks at the page in both schemes and at several widths.
func suits(b *tab, name string) {
	b.t.Helper()
	grounds := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.media(map[string]string{"prefers-color-scheme": scheme})
		for _, low := range eval[[]string](b, contrasts) {
			b.t.Errorf("%s: contrast of %s", scheme, low)
		}
		grounds[scheme] = eval[string](b, "getComputedStyle(document.body).backgroundColor")
		if name == "troubled" {
			b.shoot("audit-" + scheme + ".png")
		}
	}
	if grounds["light"] == grounds["dark"] {
		b.t.Errorf("both have the ground %s", grounds["light"])
	}
	eval[bool](b, "(document.querySelectorAll('details').forEach(d => { d.open = true }), true)")
	for _, width := range []int64{320, 360, 700, 1000} {
		b.do(chromedp.EmulateViewport(width, 760))
		if over := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
			b.t.Errorf("at %d pixels the page is %d too wide", width, over)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 860))
}

var (
	pdfPage = regexp.MustCompile(`/Type ?/Page\b`)
	pdfA4   = regexp.MustCompile(`/MediaBox ?\[0 0 59[45][0-9.]* 84[12][0-9.]*\]`)
)

// onPaper prints the page.
func onPaper(b *tab, findings int) {
	b.t.Helper()
	printed, err := chromedp.Call(b.ctx, page.PrintToPDF, page.PrintToPDFParams{PreferCSSPageSize: new(true)})
	must(b.t, err)
	pages, sized := len(pdfPage.FindAll(printed.Data, -1)), len(pdfA4.FindAll(printed.Data, -1))
	if least, most := 2, 6+findings/6; pages < least || pages > most || sized == 0 {
		b.t.Errorf("%d pages, want %d to %d, %d of them A4", pages, least, most, sized)
	}
}
