package phones

import (
	"bytes"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/device"
)

//go:embed web
var web embed.FS

var index = template.Must(template.ParseFS(web, "web/index.html"))

const (
	maxLines    = 32                    // streams of events at once
	maxBody     = 16 << 10              // of a request
	streamPause = 60 * time.Millisecond // between two states of a stream
	keepAlive   = 15 * time.Second      // after which a stream says that it is alive
	writeLimit  = 10 * time.Second      // for a reader to take a state
	maxMessage  = 256                   // characters of a push challenge's message
	maxExpires  = time.Hour
)

// tokenHeader carries the token of this start.
const tokenHeader = "X-Phones-Token" //nolint:gosec // a header's name

// contentPolicy lets the page use what this listener serves, and nothing else.
// No script can turn text into markup.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves the page, for tests without a listener.
func (p *Page) Handler() http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic("phones: " + err.Error()) // the folder is embedded
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.index)
	for _, name := range []string{"page.css", "main.js", "view.js", "format.js", "icon.svg"} {
		mux.Handle("GET /"+name, http.FileServerFS(files))
	}
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		state, _ := p.snapshot()
		reply(w, http.StatusOK, state)
	})
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("POST /answer", p.answer)
	mux.HandleFunc("POST /send", p.send)
	return p.guard(http.NewCrossOriginProtection().Handler(mux))
}

// guard lets in who calls this machine by an address or as localhost: a page of
// somebody else reaches a local listener only by a name of its own.
func (p *Page) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !ownHost(r.Host) {
			refuse(w, problem{http.StatusMisdirectedRequest, "host", "This page is served by address, or as localhost."})
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead &&
			subtle.ConstantTimeCompare([]byte(r.Header.Get(tokenHeader)), []byte(p.token)) != 1 {
			refuse(w, problem{http.StatusForbidden, "token", "The page was started anew: load it again."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func ownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")) != nil
}

func (p *Page) index(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := index.Execute(&b, struct{ Token, Start string }{p.token, p.start}); err != nil {
		panic("phones: " + err.Error()) // the template is tested
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // the reader may have gone
}

// events streams the state: once at first, then after each change.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	select {
	case p.lines <- struct{}{}:
		defer func() { <-p.lines }()
	default:
		refuse(w, problem{http.StatusServiceUnavailable, "crowded", "Too many pages are open."})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	write := func(text []byte) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit)) // a recorder has none
		_, err := w.Write(text)
		return err == nil && rc.Flush() == nil
	}
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		state, changed := p.snapshot()
		if !write(slices.Concat([]byte("data: "), encode(state), []byte("\n\n"))) {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-changed:
				waiting = false
			case <-alive.C:
				if !write([]byte(": alive\n\n")) {
					return
				}
			case <-p.quit:
				return
			case <-r.Context().Done():
				return
			}
		}
		// What happens at once is told at once.
		pause.Reset(streamPause)
		select {
		case <-pause.C:
		case <-p.quit:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (p *Page) answer(w http.ResponseWriter, r *http.Request) {
	var body struct{ SID, Answer string }
	if !read(w, r, &body) {
		return
	}
	if body.Answer != device.StatusApproved && body.Answer != device.StatusDenied {
		refuse(w, problem{http.StatusBadRequest, "form", "An answer is approved or denied."})
		return
	}
	if trouble := p.press(r.Context(), body.SID, body.Answer); trouble != nil {
		refuse(w, *trouble)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": body.Answer})
}

func (p *Page) send(w http.ResponseWriter, r *http.Request) {
	var body struct {
		FactorSID string `json:"factor_sid"`
		Message   string `json:"message"`
		Expires   int    `json:"expires"` // seconds
	}
	if !read(w, r, &body) {
		return
	}
	at := slices.IndexFunc(p.book.phones, func(ph *phone) bool { return ph.factor == body.FactorSID })
	body.Message = strings.TrimSpace(body.Message)
	expires := time.Duration(body.Expires) * time.Second
	switch {
	case p.cfg.Send == nil:
		refuse(w, problem{http.StatusNotFound, "form", "There is no topic to send to."})
		return
	case at < 0:
		refuse(w, problem{http.StatusBadRequest, "form", "There is no such phone."})
		return
	case body.Message == "" || utf8.RuneCountInString(body.Message) > maxMessage:
		refuse(w, problem{http.StatusBadRequest, "form", "A message has 1 to 256 characters."})
		return
	case expires <= 0 || expires > maxExpires:
		refuse(w, problem{http.StatusBadRequest, "form", "A challenge expires within the hour."})
		return
	}
	p.asking.RLock()
	defer p.asking.RUnlock()
	if p.drained {
		refuse(w, problem{http.StatusServiceUnavailable, "draining", "Everything is being shut down: no further request is taken."})
		return
	}
	ph := p.book.phones[at]
	err := p.cfg.Send(r.Context(), Ask{Identity: ph.Identity, FactorSID: ph.factor, Message: body.Message, Expires: expires})
	if err != nil {
		refuse(w, problem{http.StatusBadGateway, "send", "The request was not sent: " + err.Error()})
		return
	}
	reply(w, http.StatusAccepted, map[string]string{"status": "sent"})
}

// read decodes a body, or refuses it. Only JSON is taken: no form of another
// site can send it.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		refuse(w, problem{http.StatusUnsupportedMediaType, "form", "JSON is expected."})
		return false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into); err != nil {
		refuse(w, problem{http.StatusBadRequest, "form", "The request can't be read."})
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, trouble problem) {
	reply(w, trouble.status, map[string]string{"code": trouble.code, "error": trouble.message})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(body)) // the reader may have gone
}

func encode(body any) []byte {
	data, err := json.Marshal(body)
	if err != nil {
		panic("phones: " + err.Error()) // plain fields
	}
	return data
}
