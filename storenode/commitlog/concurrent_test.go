// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// traffic is a log under all kinds of callers at once, on a real disk.
type traffic struct {
	l    *Log
	done atomic.Bool

	mu      sync.Mutex
	entries []record.Header // appended, oldest first
}

func (x *traffic) pick(rng *rand.Rand) (record.Header, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.entries) == 0 {
		return record.Header{}, false
	}
	if rng.IntN(2) == 0 {
		return x.entries[len(x.entries)-1-rng.IntN(min(20, len(x.entries)))], true
	}
	return x.entries[rng.IntN(len(x.entries))], true
}

func (x *traffic) appends(w *writer) error {
	defer x.done.Store(true)
	rng := seeded(1)
	for range 1000 {
		bodies := make([][]byte, 1+rng.IntN(8))
		for i := range bodies {
			bodies[i] = body(rng.IntN(2000), "traffic")
		}
		typ := record.TypeMessage
		if x.l.Room() < 20_000 {
			typ, bodies = record.TypeSeal, [][]byte{nil}
		}
		w.commit = x.l.Synced()
		entries, err := w.append(UseClient, typ, bodies...)
		if err != nil {
			return err
		}
		x.mu.Lock()
		for i := range entries {
			x.entries = append(x.entries, entries[i].Header)
		}
		x.mu.Unlock()
	}
	return nil
}

func (x *traffic) syncs() error {
	for !x.done.Load() {
		end := x.l.End()
		if err := x.l.Sync(); err != nil {
			return err
		}
		if x.l.Synced() < end {
			return fmt.Errorf("synced %d, the end had been %d", x.l.Synced(), end)
		}
	}
	return nil
}

func (x *traffic) reads(seed uint64) error {
	rng := seeded(seed)
	var buf []byte
	for !x.done.Load() {
		h, ok := x.pick(rng)
		if !ok {
			continue
		}
		var e record.Entry
		var err error
		e, buf, err = x.l.Read(h.LSN, buf)
		switch {
		case err == nil && e.Header != h:
			return fmt.Errorf("read %+v, appended %+v", e.Header, h)
		case err != nil && !(fault.Is(err, fault.NotFound) && h.LSN < x.l.Start()):
			return err
		}
	}
	return nil
}

func (x *traffic) scans(ctx context.Context) error {
	for !x.done.Load() {
		from := x.l.Start()
		last := ident.LSN(0)
		err := x.l.Scan(ctx, from, 0, func(e *record.Entry) error {
			if e.LSN < last {
				return errors.New("a scan goes back")
			}
			last = e.LSN
			return nil
		})
		if err != nil && !(fault.Is(err, fault.NotFound) && x.l.Start() > from) {
			return err
		}
	}
	return nil
}

func (x *traffic) trims() error {
	for !x.done.Load() {
		if list := x.l.Segments(); len(list) > 6 && list[3].Base < x.l.Synced() {
			if err := x.l.Trim(list[3].Base); err != nil {
				return err
			}
		}
		x.l.Space()
		x.l.Prepared()
	}
	return nil
}

func TestAllAtOnce(t *testing.T) {
	o := testOptions(nil)
	o.FS, o.Dir, o.FreeBytes = disk.OS{}, filepath.Join(t.TempDir(), "shard"), nil
	o.SegmentBytes, o.PrepareBytes = 256<<10, 128<<10
	l, r := open(t, o, RecoverOptions{})
	x := &traffic{l: l}
	ctx, cancel := context.WithCancel(t.Context())
	run := make(chan error)
	go func() { run <- l.Run(ctx) }()
	var g errgroup.Group
	g.Go(func() error { return x.appends(newWriter(l, r)) })
	g.Go(x.syncs)
	g.Go(x.trims)
	g.Go(func() error { return x.scans(ctx) })
	g.Go(func() error { return x.reads(2) })
	g.Go(func() error { return x.reads(3) })
	must(t, g.Wait())
	must(t, l.Sync())
	cancel()
	must(t, <-run)
	if l.Start() == FirstLSN {
		t.Error("nothing was trimmed")
	}
	end := l.End()
	must(t, l.Close())
	_, r = open(t, o, RecoverOptions{Floor: end})
	if r.End != end || r.Torn {
		t.Errorf("recovered %+v, closed at %d", r, end)
	}
}
