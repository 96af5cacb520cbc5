package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connector"
)

const (
	readHeaderTimeout = 5 * time.Second
	// lastAnswers is how long answers under way may take when a command ends.
	lastAnswers = time.Second
)

// listenHelp is the part of a command's help that describes the listener.
const listenHelp = `With --listen, an HTTP listener answers:
  /healthz  200 while the process is alive
  /readyz   200 while progress is possible, else 503 with the reason
  /status   the status as JSON: lanes, accounts, breakers, counters
  /metrics  Prometheus text format
It has no access control, so it takes loopback addresses only, unless
--listen-any says otherwise.`

// listenFlags say where to listen, if anywhere.
type listenFlags struct {
	addr     string
	anywhere bool
}

func (f *listenFlags) register(cmd *cobra.Command, addr, usage string) {
	cmd.Flags().StringVar(&f.addr, "listen", addr, usage)
	cmd.Flags().BoolVar(&f.anywhere, "listen-any", false, "allow --listen on an address that is not loopback")
}

// check refuses an address that others can reach, unless it is meant.
func (f listenFlags) check() error {
	if f.addr == "" {
		return nil
	}
	local, err := isLoopback(f.addr)
	if err != nil {
		return usagef("--listen must be host:port, as in 127.0.0.1:8080")
	}
	if local || f.anywhere {
		return nil
	}
	return usagef("--listen %s can be reached from other machines; add --listen-any if that is meant", f.addr)
}

// isLoopback reports whether nobody else can reach host:port.
func isLoopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, err
	}
	return isThisMachine(host), nil
}

func isThisMachine(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// observed is what the listener shows.
type observed struct {
	status   func() connector.Status
	document func() any // what /status shows
	metrics  func(context.Context, io.Writer) error
}

// opsServer is the listener of a running command.
type opsServer struct {
	server *http.Server
	served chan struct{}
}

// serve starts the listener that the flags ask for. Without one it returns a
// server that close accepts all the same.
func (f listenFlags) serve(ctx context.Context, o observed, log *slog.Logger) (*opsServer, error) {
	if f.addr == "" {
		return &opsServer{}, nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", f.addr)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	s := &opsServer{
		server: &http.Server{
			Handler: o.handler(), ReadHeaderTimeout: readHeaderTimeout,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		served: make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener has failed", "error", err)
		}
	}()
	log.Info("listening", "url", "http://"+listener.Addr().String())
	return s, nil
}

// close ends the listener and waits for it.
func (s *opsServer) close(ctx context.Context) {
	if s.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // whoever still reads has had its time
	}
	<-s.served
}

func (o observed) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "alive\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := o.status()
		if s.Ready {
			_, _ = io.WriteString(w, "ready\n")
			return
		}
		http.Error(w, unready(s), http.StatusServiceUnavailable)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(o.document()) // the reader may have gone
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		var text bytes.Buffer
		if err := o.metrics(r.Context(), &text); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = text.WriteTo(w) // the reader may have gone
	})
	return mux
}

// unready says why no progress is possible.
func unready(s connector.Status) string {
	if s.Reason == "" {
		return "not ready: " + string(s.State)
	}
	return "not ready: " + string(s.State) + ": " + s.Reason
}
