// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"
)

// Limits of the HTTP listener: it serves probes, scrapers and people, never
// clients.
const (
	headerWithin = 5 * time.Second
	idleWithin   = 2 * time.Minute
	headerMax    = 16 << 10
)

// Pages are what the HTTP listener serves.
type Pages struct {
	// Alive and Ready answer /healthz and /readyz; nil passes.
	Alive, Ready *Health
	// Metrics answers /metrics; nil: not found.
	Metrics http.Handler
	// Pprof switches /debug/pprof/ on, for callers on this machine, or for those
	// that present AdminToken as `Authorization: Bearer TOKEN`.
	Pprof      bool
	AdminToken string
}

// Server makes the HTTP server of the pages; the caller gives it a listener and
// shuts it down. Profiles and scrapes may take long, so writing has no limit.
func (p Pages) Server() *http.Server {
	return &http.Server{
		Handler: p.Handler(), ReadHeaderTimeout: headerWithin, IdleTimeout: idleWithin, MaxHeaderBytes: headerMax,
	}
}

// Handler routes the pages.
func (p Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", answer(p.Alive))
	mux.HandleFunc("GET /readyz", answer(p.Ready))
	if p.Metrics != nil {
		mux.Handle("GET /metrics", p.Metrics)
	}
	if p.Pprof {
		mux.Handle("GET /debug/pprof/", p.guarded(pprof.Index))
		mux.Handle("GET /debug/pprof/cmdline", p.guarded(pprof.Cmdline))
		mux.Handle("GET /debug/pprof/profile", p.guarded(pprof.Profile))
		mux.Handle("GET /debug/pprof/symbol", p.guarded(pprof.Symbol))
		mux.Handle("GET /debug/pprof/trace", p.guarded(pprof.Trace))
	}
	return mux
}

// answer serves a health page: 200 and "ok", or 503 and one line per failing
// check.
func answer(h *Health) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		var failing []string
		if h != nil {
			failing = h.Failing()
		}
		if len(failing) == 0 {
			_, _ = w.Write([]byte("ok\n")) // the prober may be gone
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(strings.Join(failing, "\n") + "\n"))
	}
}

// guarded lets callers on this machine and administrators in.
func (p Pages) guarded(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.admits(r) {
			http.Error(w, "profiles are for callers on this machine, or with the admin token", http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

// admits checks one request. With a token everybody needs it: a proxy in front
// would make every caller look local.
func (p Pages) admits(r *http.Request) bool {
	if p.AdminToken != "" {
		given := r.Header.Get("Authorization")
		return subtle.ConstantTimeCompare([]byte(given), []byte("Bearer "+p.AdminToken)) == 1
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
