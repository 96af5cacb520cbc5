package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium finds the browser, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if *required {
		t.Fatal("Chromium is required, and is not installed")
	}
	t.Skip("no Chromium is installed here: apt-get install chromium")
	return ""
}

// tab is a page in a browser of its own.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // that the browser wrote to its console
}

// newTab starts a browser of so many pixels.
func newTab(t *testing.T, width, height int64) *tab {
	t.Helper()
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium(t)))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // the sandbox refuses root
	}
	ctx, stopAllocator := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	t.Cleanup(stopAllocator)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &tab{t: t, ctx: ctx}
	must(t, chromedp.Listen(ctx, b.heard))
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, height)))
	return b
}

// heard notes what a person would see as red in the console.
func (b *tab) heard(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if kind := string(e.Type); kind == "error" || kind == "warning" || kind == "assert" {
			text = "console: " + kind
			for _, arg := range e.Args {
				text += fmt.Sprintf(" %s%s", arg.Value, arg.Description)
			}
		}
	case *log.EventEntryAdded:
		if kind := string(e.Entry.Level); kind == "error" || kind == "warning" {
			text = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.troubles = append(b.troubles, text)
	}
}

// quiet checks that the console holds nothing but what is expected.
func (b *tab) quiet(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.troubles {
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(text, e) }) {
			b.t.Errorf("the console says %s", text)
		}
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	must(b.t, chromedp.Do(ctx, steps...))
}

// eval evaluates an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// await waits until an expression is true in the page; what it is about may be
// missing until then.
func (b *tab) await(what, expression string) {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			b.t.Logf("the page shows: %s", b.text("body"))
		}
	}()
	eventually(b.t, what, func() bool {
		return eval[bool](b, "(() => { try { return Boolean("+expression+") } catch { return false } })()")
	})
}

// text is what a person reads in the first element that fits.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// media sets the person's preferences.
func (b *tab) media(features map[string]string) {
	b.t.Helper()
	var params emulation.SetEmulatedMediaParams
	for name, value := range features {
		params.Features = append(params.Features, &emulation.MediaFeature{Name: name, Value: value})
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, params)
	must(b.t, err)
}

// focused names what has the focus: its accessible text.
func (b *tab) focused() string {
	b.t.Helper()
	return eval[string](b, "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id + '|' + document.activeElement.textContent.trim()")
}

// tabTo presses Tab until the focus is on what has the text, and returns what it
// was on before. Wherever the focus is, it can be seen.
func (b *tab) tabTo(text string) (before []string) {
	b.t.Helper()
	for range 25 {
		b.do(chromedp.KeyEvent("\t"))
		if eval[bool](b, "document.activeElement !== document.body") &&
			!eval[bool](b, "(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement))") {
			b.t.Errorf("the focus on %q can't be seen", b.focused())
		}
		if strings.Contains(b.focused(), text) {
			return before
		}
		before = append(before, b.focused())
	}
	b.t.Fatalf("Tab does not get to %q: %q", text, before)
	return nil
}

// shoot writes a picture, where pictures are asked for.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	must(b.t, err)
	if len(picture) > 200<<10 {
		b.t.Errorf("%s has %d bytes", name, len(picture))
	}
	must(b.t, os.WriteFile(filepath.Join(*screenshots, name), picture, 0o644))
}
