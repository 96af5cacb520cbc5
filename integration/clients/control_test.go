package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// control lets a suite in another language have worlds of its own:
//
//	POST   /worlds             an emulator with the emulator.Rules of the JSON body
//	POST   /worlds/{id}/clock  moves its clock by ?by=, e.g. 5m; 0s only tells the time
//	POST   /worlds/{id}/script the fates of the next calls of ?operation=, as a JSON list
//	DELETE /worlds/{id}        closes it
//
// Faults are set and calls are counted under the emulator's own /_emulator/.
type control struct {
	t    *testing.T
	mu   sync.Mutex
	last int
	made map[string]controlled
}

type controlled struct {
	e     *emulator.Emulator
	clock *clock
}

// startControl returns the URL of a control.
func startControl(t *testing.T) string {
	t.Helper()
	c := &control{t: t, made: map[string]controlled{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /worlds", c.create)
	mux.HandleFunc("POST /worlds/{id}/clock", c.move)
	mux.HandleFunc("POST /worlds/{id}/script", c.script)
	mux.HandleFunc("DELETE /worlds/{id}", c.remove)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		for id, w := range c.made {
			t.Errorf("world %s was left open", id)
			closeIt(t, w.e)
		}
	})
	return server.URL
}

func (c *control) create(w http.ResponseWriter, r *http.Request) {
	var rules emulator.Rules
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&rules); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, cl, err := start(c.t.Context(), rules)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	id := fmt.Sprint(c.last)
	c.made[id] = controlled{e, cl}
	c.json(w, map[string]string{
		"id": id, "url": e.URL(), "service": service, "identity": identity,
		"account": emulator.DefaultAccountSID, "token": emulator.DefaultAuthToken,
		"keySID": keySID, "keySecret": keySecret,
	})
}

func (c *control) find(w http.ResponseWriter, r *http.Request) (controlled, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	world, ok := c.made[r.PathValue("id")]
	if !ok {
		http.Error(w, "no such world", http.StatusNotFound)
	}
	return world, ok
}

func (c *control) move(w http.ResponseWriter, r *http.Request) {
	world, ok := c.find(w, r)
	if !ok {
		return
	}
	by, err := time.ParseDuration(r.URL.Query().Get("by"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	world.clock.move(by)
	c.json(w, map[string]int64{"now": world.clock.now().Unix()})
}

func (c *control) script(w http.ResponseWriter, r *http.Request) {
	world, ok := c.find(w, r)
	if !ok {
		return
	}
	var kinds []emulator.FaultKind
	err := json.NewDecoder(r.Body).Decode(&kinds)
	if err == nil {
		err = world.e.Script(emulator.Operation(r.URL.Query().Get("operation")), kinds...)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *control) remove(w http.ResponseWriter, r *http.Request) {
	world, ok := c.find(w, r)
	if !ok {
		return
	}
	c.mu.Lock()
	delete(c.made, r.PathValue("id"))
	c.mu.Unlock()
	closeIt(c.t, world.e)
	w.WriteHeader(http.StatusNoContent)
}

func (c *control) json(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		c.t.Error(err)
	}
}
