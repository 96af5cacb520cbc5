package emulator

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	adminRoot       = "/_emulator/"
	maxAdminBody    = 64 << 10
	defaultCreated  = 1000
	maxCreated      = 10000
	maxOutage       = 24 * time.Hour
	adminNotAllowed = "no such administration call"
)

func isAdmin(path string) bool { return strings.HasPrefix(path, adminRoot) }

// serveAdmin answers the calls listed in the package's documentation. Errors
// are {"error": "..."}.
func (e *Emulator) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if e.outage.draining() {
		w.Header().Set("Connection", "close")
	}
	call := r.Method + " " + strings.TrimPrefix(r.URL.Path, adminRoot)
	switch call {
	case "GET healthz":
		e.adminJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case "GET stats":
		e.adminJSON(w, http.StatusOK, e.Stats())
	case "GET created":
		e.adminCreated(w, r.URL.Query())
	case "GET faults":
		e.adminJSON(w, http.StatusOK, e.Faults())
	case "POST faults":
		f, err := DecodeFaults(http.MaxBytesReader(w, r.Body, maxAdminBody))
		if err == nil {
			err = e.SetFaults(f)
		}
		if err != nil {
			e.adminError(w, http.StatusBadRequest, err.Error())
			return
		}
		e.adminJSON(w, http.StatusOK, e.Faults())
	case "POST outage":
		e.adminOutage(w, r)
	case "DELETE outage":
		e.EndOutage()
		w.WriteHeader(http.StatusNoContent)
	default:
		e.adminError(w, http.StatusNotFound, adminNotAllowed)
	}
}

func (e *Emulator) adminCreated(w http.ResponseWriter, q url.Values) {
	after, limit := uint64(0), defaultCreated
	var err error
	if q.Has("after") {
		if after, err = strconv.ParseUint(q.Get("after"), 10, 64); err != nil {
			e.adminError(w, http.StatusBadRequest, "after is not a number")
			return
		}
	}
	if q.Has("limit") {
		if limit, err = strconv.Atoi(q.Get("limit")); err != nil || limit < 1 || limit > maxCreated {
			e.adminError(w, http.StatusBadRequest, "limit is not within 1 and "+strconv.Itoa(maxCreated))
			return
		}
	}
	entries, last := e.CreatedAfter(after, limit)
	next := after
	if len(entries) > 0 {
		next = entries[len(entries)-1].Seq
	}
	e.adminJSON(w, http.StatusOK, struct {
		Created   []Created `json:"created"`
		NextAfter uint64    `json:"next_after"`
		Last      uint64    `json:"last"`
	}{entries, next, last})
}

// adminOutage spares its own connection for the one answer.
func (e *Emulator) adminOutage(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil || d <= 0 || d > maxOutage {
		e.adminError(w, http.StatusBadRequest, "for is not a duration up to "+maxOutage.String())
		return
	}
	kind := outageKind(r.URL.Query().Get("kind"))
	if kind != outageGraceful && kind != outageHard && kind != outage503 {
		e.adminError(w, http.StatusBadRequest, "kind is not graceful, hard or 503")
		return
	}
	var state *Error
	if err := e.beginOutage(kind, d, lineOf(r.Context())); errors.As(err, &state) {
		e.adminError(w, http.StatusConflict, state.Message)
		return
	}
	if kind != outage503 {
		w.Header().Set("Connection", "close")
	}
	e.adminJSON(w, http.StatusAccepted, map[string]string{"kind": string(kind), "for": d.String()})
}

func (e *Emulator) adminError(w http.ResponseWriter, status int, message string) {
	e.adminJSON(w, status, map[string]string{"error": message})
}

func (e *Emulator) adminJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic("emulator: administration answer can't be encoded: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the caller may have gone
}
