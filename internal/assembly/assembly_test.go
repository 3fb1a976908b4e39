// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mansiomq/mansio/internal/datadir"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/telemetry"
)

// start runs a process until the test ends, and returns where it serves.
func start(t *testing.T, c Config) (at Addresses, stop func()) {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Config{Role: c.Name, Logger: c.Logger})
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan Addresses, 1), make(chan error, 1)
	c.Telemetry, c.Started = tel, func(at Addresses) { started <- at }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- Run(ctx, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := tel.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case at = <-started:
	case err := <-ended:
		ended <- nil
		t.Fatal("it did not start: ", err)
	case <-time.After(30 * time.Second):
		t.Fatal("it is not ready after 30 s")
	}
	return at, stop
}

// standalone is all roles in one process, on free ports and a fresh folder.
func standalone(t *testing.T, logger *slog.Logger) Config {
	return Config{
		Name: "mansio standalone", Data: t.TempDir(), HTTPListen: "127.0.0.1:0", Logger: logger,
		Controller: &Controller{Cluster: "test", ShardsPerNode: 1, Embedded: true, AutoCreateTopics: true, AutoCreateGroups: true},
		StoreNode:  &StoreNode{Node: "test", SegmentBytes: 8 << 20, MinFreeBytes: 1, Retention: time.Hour},
		Proxy:      &Proxy{Listen: "127.0.0.1:0"},
	}
}

// TestStopIsTold: a stop leaves two lines, which say why, how long, and whether
// the next start has something to recover.
func TestStopIsTold(t *testing.T) {
	var lines lockedBuffer
	_, stop := start(t, standalone(t, slog.New(slog.NewTextHandler(&lines, nil))))
	stop()
	for _, want := range []string{`msg=stopping reason="context canceled"`, `msg=stopped took_ms=`, ` clean=true`} {
		if n := strings.Count(lines.String(), want); n != 1 {
			t.Errorf("%d times %s in\n%s", n, want, lines.String())
		}
	}
}

// TestStopOutlived: nobody waits for a part that goes on when the stop gives up,
// and nobody else gets the folder that it may still write to.
func TestStopOutlived(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		data, err := datadir.Open(dir, "test")
		if err != nil {
			t.Fatal(err)
		}
		var lines lockedBuffer
		hung := make(chan struct{})
		p := &process{logger: slog.New(slog.NewTextHandler(&lines, nil)), data: data}
		p.clean = func() bool {
			<-hung
			return true
		}
		p.group.StopMax = stopMax
		p.addStoring("hung", func(_ context.Context, ready func()) error {
			ready()
			<-hung
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		stopped := p.tellStop(ctx)
		if err := p.group.Run(ctx); !fault.Is(err, fault.Timeout) {
			t.Error(err)
		}
		stopped()
		if !strings.Contains(lines.String(), " clean=false") {
			t.Error(lines.String())
		}
		if err := p.release(); err != nil {
			t.Error(err)
		}
		if _, err := datadir.Open(dir, "another"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("the folder of a part that may still write was given away: %v", err)
		}
		close(hung)
		synctest.Wait()
		if err := p.release(); err != nil {
			t.Error(err)
		}
		again, err := datadir.Open(dir, "another")
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// lockedBuffer is a buffer for several writers.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLogKeysAreUnique: of a record that has a key twice a collector keeps half.
func TestLogKeysAreUnique(t *testing.T) {
	keys := &uniqueKeys{t: t, records: &atomic.Int64{}}
	_, stop := start(t, standalone(t, slog.New(keys).With("role", "standalone")))
	stop()
	if keys.records.Load() == 0 {
		t.Error("nothing was logged")
	}
}

// uniqueKeys is a log handler that takes each key once.
type uniqueKeys struct {
	t       *testing.T
	records *atomic.Int64
	keys    []string
}

func (*uniqueKeys) Enabled(context.Context, slog.Level) bool { return true }
func (u *uniqueKeys) WithGroup(string) slog.Handler          { return u }

func (u *uniqueKeys) WithAttrs(attrs []slog.Attr) slog.Handler {
	narrow := *u
	narrow.keys = slices.Clone(u.keys)
	for _, a := range attrs {
		narrow.keys = append(narrow.keys, a.Key)
	}
	return &narrow
}

func (u *uniqueKeys) Handle(_ context.Context, r slog.Record) error {
	u.records.Add(1)
	keys := slices.Clone(u.keys)
	r.Attrs(func(a slog.Attr) bool {
		keys = append(keys, a.Key)
		return true
	})
	slices.Sort(keys)
	if len(slices.Compact(slices.Clone(keys))) < len(keys) {
		u.t.Errorf("%q has a key twice: %q", r.Message, keys)
	}
	return nil
}
