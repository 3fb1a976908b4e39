// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// fill appends messages until there are that many segments, doing the
// background work between them.
func (w *writer) fill(t *testing.T, segments int) []record.Entry {
	t.Helper()
	var entries []record.Entry
	for len(w.l.Segments()) < segments {
		prepare(t, w.l)
		entries = append(entries, w.must(t, record.TypeMessage, body(3000, "fill"))...)
	}
	must(t, w.l.Sync())
	return entries
}

func files(t *testing.T, m *disk.Memory, suffix string) (names []string) {
	t.Helper()
	all, err := m.List(testDir)
	must(t, err)
	for _, name := range all {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}

func TestTrimRecycles(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	entries := w.fill(t, 6)
	list := l.Segments()
	wantKind(t, l.Trim(list[2].Base+8), fault.Invalid, "not the base")
	wantKind(t, l.Trim(l.End()), fault.Invalid, "not the base")
	wantKind(t, trimBehindUnsynced(t, w), fault.Invalid, "durable entries")
	must(t, l.Trim(list[4].Base))
	must(t, l.Trim(list[1].Base)) // below the start: nothing to do
	if l.Start() != list[4].Base || len(l.Segments()) != 3 {
		t.Errorf("start %d, segments %+v", l.Start(), l.Segments())
	}
	_, _, err := l.Read(entries[0].LSN, nil)
	wantKind(t, err, fault.NotFound, "not in")
	prepare(t, l)
	if got := files(t, m, segmentSuffix); len(got) != 3 {
		t.Errorf("segment files %v", got)
	}
	if got := files(t, m, poolSuffix); len(got) < poolMax+1 || len(got) > poolMax+2 { // with the spare and the next one
		t.Errorf("pool files %v", got)
	}
	// The recycled files are used again, and what they held does not come back.
	creates := m.Calls(disk.OpTruncate)
	again := w.fill(t, 7)
	l, r = open(t, testOptions(m), RecoverOptions{Floor: l.Synced()})
	if r.Entries < len(again) || l.Start() != list[4].Base || m.Calls(disk.OpTruncate) != creates {
		t.Errorf("recovered %+v", r)
	}
	i := 0
	must(t, l.Scan(t.Context(), again[0].LSN, 0, func(e *record.Entry) error {
		if e.Type == record.TypeSeal {
			return nil
		}
		i++
		return sameEntry(e, &again[i-1])
	}))
	if i != len(again) {
		t.Errorf("%d entries of %d", i, len(again))
	}
}

// trimBehindUnsynced rolls into a new segment and trims up to it before its
// header and first entry are durable.
func trimBehindUnsynced(t *testing.T, w *writer) error {
	t.Helper()
	_, err := w.append(UseVital, record.TypeSeal, nil)
	must(t, err)
	must(t, w.l.Sync())
	base := w.l.End()
	prepare(t, w.l)
	w.must(t, record.TypeMessage, body(100, "new"))
	err = w.l.Trim(base)
	must(t, w.l.Sync())
	return err
}

// A reader that is in a segment when it is trimmed reads on; the file is not
// given to anybody else before that.
func TestTrimWaitsForReaders(t *testing.T) {
	m := disk.NewMemory()
	o := testOptions(m)
	o.RingBytes = 0
	l, r := open(t, o, RecoverOptions{})
	w := newWriter(l, r)
	entries := w.fill(t, 3)
	inside, release := make(chan struct{}), make(chan struct{})
	m.Hook(func(c disk.Call) error {
		if c.Op == disk.OpRead {
			close(inside)
			<-release
		}
		return nil
	})
	read := make(chan error)
	go func() {
		e, _, err := l.Read(entries[0].LSN, nil)
		if err == nil {
			err = sameEntry(&e, &entries[0])
		}
		read <- err
	}()
	<-inside
	m.Hook(nil)
	seg := (*l.segs.Load())[0]
	must(t, l.Trim(l.Segments()[2].Base))
	stepped := make(chan error, 1)
	go func() {
		_, err := l.step()
		stepped <- err
	}()
	for seg.mu.TryRLock() { // until the recycler waits for the lock
		seg.mu.RUnlock()
		runtime.Gosched()
		if len(stepped) > 0 {
			t.Error("the segment was recycled under its reader")
			break
		}
	}
	close(release)
	must(t, <-read)
	must(t, <-stepped)
	_, _, err := l.Read(entries[0].LSN, nil)
	wantKind(t, err, fault.NotFound, "not in")
}

func TestFailuresAreFatal(t *testing.T) {
	for name, tt := range map[string]struct {
		op    disk.Op
		errno syscall.Errno
		act   func(w *writer) error
	}{
		"fsync":          {disk.OpSync, syscall.EIO, func(w *writer) error { return w.l.Sync() }},
		"write EIO":      {disk.OpWrite, syscall.EIO, func(w *writer) error { _, err := w.append(UseVital, record.TypeSeal, nil); return err }},
		"write ENOSPC":   {disk.OpWrite, syscall.ENOSPC, func(w *writer) error { _, err := w.append(UseVital, record.TypeSeal, nil); return err }},
		"prepare fsync":  {disk.OpSync, syscall.ENOSPC, func(w *writer) error { _, err := w.l.step(); return err }},
		"prepare write":  {disk.OpWrite, syscall.EIO, func(w *writer) error { _, err := w.l.step(); return err }},
		"prepare create": {disk.OpOpen, syscall.EIO, func(w *writer) error { _, err := w.l.step(); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			m := disk.NewMemory()
			l, r := open(t, testOptions(m), RecoverOptions{})
			w := newWriter(l, r)
			for l.Prepared() < 20000 {
				_, err := l.step()
				must(t, err)
			}
			e := w.must(t, record.TypeMessage, body(1000, "x"))[0]
			m.Hook(disk.FailNth(tt.op, 1, tt.errno))
			err := tt.act(w)
			for n := 0; err == nil && n < 20; n++ { // steps that need nothing of this kind
				_, err = w.l.step()
			}
			wantKind(t, err, fault.Internal, "log failed")
			if !errors.Is(err, tt.errno) {
				t.Errorf("the cause is lost: %v", err)
			}
			m.Hook(nil)
			syncs, writes := m.Calls(disk.OpSync), m.Calls(disk.OpWrite)
			_, aerr := w.append(UseVital, record.TypeMessage, body(10, "y"))
			for _, err := range []error{aerr, l.Sync(), l.Trim(8), l.Run(t.Context())} {
				wantKind(t, err, fault.Internal, "log failed")
			}
			if m.Calls(disk.OpSync) != syncs || m.Calls(disk.OpWrite) != writes {
				t.Error("the disk was written after the failure")
			}
			<-l.Failed()
			got, _, err := l.Read(e.LSN, nil)
			must(t, err)
			must(t, sameEntry(&got, &e))
			if l.Synced() != FirstLSN {
				t.Errorf("synced %d", l.Synced())
			}
		})
	}
}

// After a failed sync the kernel may show bytes that are not on the disk. The
// next life does not build on them.
func TestRecoverDoesNotTrustTheCache(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	kept := w.must(t, record.TypeMessage, body(1000, "kept"))[0]
	must(t, l.Sync())
	w.must(t, record.TypeMessage, body(1000, "lost"))
	m.Hook(disk.FailNth(disk.OpSync, 1, syscall.EIO))
	wantKind(t, l.Sync(), fault.Internal, "log failed")
	m.Hook(nil)
	l, r = open(t, testOptions(m), RecoverOptions{Floor: kept.End()})
	if r.End != kept.End() {
		t.Errorf("recovered up to %d, durable is %d", r.End, kept.End())
	}
	_, r = open(t, testOptions(m.Crash(seeded(1))), RecoverOptions{Floor: l.Synced()})
	if r.End != kept.End() {
		t.Errorf("after a power loss the log ends at %d, not at %d", r.End, kept.End())
	}
}

// Appends and reads go on while a sync is under way, and it covers what was
// there when it began.
func TestSyncBlocksNobody(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	first := w.must(t, record.TypeMessage, body(100, "x"))[0]
	inside, release := make(chan struct{}), make(chan struct{})
	m.Hook(func(c disk.Call) error {
		if c.Op == disk.OpSync {
			inside <- struct{}{}
			<-release
		}
		return nil
	})
	done := make(chan error)
	go func() { done <- l.Sync() }()
	<-inside
	second := w.must(t, record.TypeMessage, body(100, "y"))[0]
	if _, _, err := l.Read(second.LSN, nil); err != nil {
		t.Error(err)
	}
	if l.Synced() != FirstLSN || l.End() != second.End() {
		t.Errorf("during the sync: synced %d, end %d", l.Synced(), l.End())
	}
	close(release)
	must(t, <-done)
	if l.Synced() != first.End() {
		t.Errorf("synced %d, appended before the call was %d", l.Synced(), first.End())
	}
	m.Hook(nil)
	must(t, l.Sync())
	syncs := m.Calls(disk.OpSync)
	must(t, l.Sync())
	if l.Synced() != second.End() || m.Calls(disk.OpSync) != syncs {
		t.Error("a sync with nothing to do did something")
	}
}

// elapse lets fake time pass.
func elapse(d time.Duration) { <-time.NewTimer(d).C }

// bubble runs test with fake time, a log on m, and Run beside it.
func bubble(t *testing.T, m *disk.Memory, change func(*Options), test func(t *testing.T, w *writer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(m)
		o.SegmentBytes, o.PrepareBytes = 1<<20, 256<<10
		if change != nil {
			change(&o)
		}
		l, err := Open(o)
		must(t, err)
		r, err := l.Recover(t.Context(), RecoverOptions{}, ignore)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		test(t, newWriter(l, r))
		cancel()
		must(t, <-done)
		must(t, l.Close())
	})
}

func TestRunPreparesAhead(t *testing.T) {
	bubble(t, disk.NewMemory(), nil, func(t *testing.T, w *writer) {
		for range 100 { // 4 MB, ten times what is prepared at the beginning
			b := body(40_000, "x")
			if w.l.Room() < 41_000 {
				_, err := w.append(UseVital, record.TypeSeal, nil)
				must(t, err)
			}
			_, err := w.append(UseClient, record.TypeMessage, b)
			must(t, err)
		}
		must(t, w.l.WaitPrepared(t.Context(), 200_000))
		if n := len(w.l.Segments()); n < 4 {
			t.Errorf("%d segments", n)
		}
		elapse(10 * time.Second)
		if s := w.l.Space(); s.Full || s.Low || s.InnerBytes != math.MaxInt64 {
			t.Errorf("space %+v", s)
		}
	})
}

// Without blocks Append waits, but not for ever.
func TestAppendWaitsForBlocks(t *testing.T) {
	m := disk.NewMemory()
	o := testOptions(m)
	o.SegmentBytes, o.PrepareBytes = 16<<20, 64<<10
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(o)
		must(t, err)
		defer l.Close()
		r, err := l.Recover(t.Context(), RecoverOptions{}, ignore)
		must(t, err)
		w := newWriter(l, r)
		began := time.Now()
		_, err = w.append(UseClient, record.TypeMessage, body(100_000, "x"))
		wantKind(t, err, fault.Unavailable, "no block was prepared")
		if waited := time.Since(began); waited != prepareWaitMax {
			t.Errorf("waited %v", waited)
		}
		done := make(chan error)
		go func() {
			_, err := w.append(UseClient, record.TypeMessage, body(100_000, "x"))
			done <- err
		}()
		synctest.Wait()
		_, err = l.step()
		must(t, err)
		must(t, <-done)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		must(t, l.WaitPrepared(ctx, 100_000))
		wantKind(t, l.WaitPrepared(ctx, 8<<20), fault.Canceled, "deadline")
	})
}

// A full disk stops clients first; all else goes on in the spare, up to its last
// part, which is for what must be written; space that comes back lets all go on.
func TestFullDisk(t *testing.T) {
	m := disk.NewMemory()
	bubble(t, m, nil, func(t *testing.T, w *writer) {
		l := w.l
		elapse(10 * time.Second) // the spare is prepared
		free, total, err := m.Free(testDir)
		must(t, err)
		m.Limit(total - free + 100_000)
		m.Limit(usedBytes(t, m) + 100_000)

		var err2 error
		for err2 == nil {
			_, err2 = w.append(UseClient, record.TypeMessage, body(10_000, "c"))
		}
		wantKind(t, err2, fault.DiskFull, "no block can be prepared")
		if s := l.Space(); !s.Full || s.InnerBytes < 1<<19 || s.InnerBytes > 1<<20 {
			t.Errorf("space %+v", s)
		}
		// The sequencer seals where the limit says, and goes on.
		inner := 0
		base := l.Segments()[0].Base
		for err2 = nil; err2 == nil; inner++ {
			if l.End()+11_000 > l.Limit(base) {
				_, err := w.append(UseVital, record.TypeSeal, nil)
				must(t, err)
				base = l.End()
				_, err = w.append(UseClient, record.TypeMessage, nil)
				wantKind(t, err, fault.DiskFull, "")
			}
			_, err2 = w.append(UseInner, record.TypeSettle, body(10_000, "i"))
		}
		wantKind(t, err2, fault.DiskFull, "")
		if inner < 90 || inner > 110 || l.Space().InnerBytes > 10_500 {
			t.Errorf("%d inner blocks, space %+v", inner, l.Space())
		}
		_, err = w.append(UseClient, record.TypeMessage, nil)
		wantKind(t, err, fault.DiskFull, "")
		_, err = w.append(UseVital, record.TypeTrim, body(20_000, "t"))
		must(t, err)
		must(t, l.Sync())

		m.Limit(0)
		must(t, waitFor(t, func() bool { return !l.Space().Full }))
		_, err = w.append(UseClient, record.TypeMessage, body(10_000, "c")) // in the spare's segment, which grows
		must(t, err)
		if got, want := l.Limit(base), base+1<<20-SealReserve; got != want {
			t.Errorf("limit %d of a segment made of the spare, want %d", got, want)
		}
		_, err = w.append(UseVital, record.TypeSeal, nil)
		must(t, err)
		_, err = w.append(UseClient, record.TypeMessage, body(10_000, "c"))
		must(t, err)
	})
	_, r := open(t, testOptions(m), RecoverOptions{})
	if r.Torn {
		t.Errorf("recovered %+v", r)
	}
}

func usedBytes(t *testing.T, m *disk.Memory) int64 {
	t.Helper()
	m.Limit(1 << 40)
	free, total, err := m.Free(testDir)
	must(t, err)
	return total - free
}

// waitFor lets fake time pass until ok, a minute at most.
func waitFor(t *testing.T, ok func() bool) error {
	t.Helper()
	for range 60 {
		if ok() {
			return nil
		}
		elapse(time.Second)
	}
	return errors.New("did not happen within a minute")
}

func TestLowSpace(t *testing.T) {
	var free atomic.Int64
	free.Store(1000)
	bubble(t, disk.NewMemory(), func(o *Options) {
		o.MinFreeBytes = 100
		o.FreeBytes = func() (int64, int64, error) { return free.Load(), 5000, nil }
	}, func(t *testing.T, w *writer) {
		for _, step := range []struct {
			free int64
			low  bool
		}{{100, false}, {99, true}, {100, true}, {119, true}, {120, false}, {100, false}} {
			free.Store(step.free)
			elapse(1500 * time.Millisecond)
			synctest.Wait()
			if s := w.l.Space(); s.Low != step.low || s.FreeBytes != step.free || s.TotalBytes != 5000 || s.NeededBytes != map[bool]int64{false: 100, true: 120}[step.low] {
				t.Errorf("%d free: %+v, want low %v", step.free, s, step.low)
			}
		}
	})
}

// Preparing itself may take the last free bytes: that is noticed at once, not at
// the next look at the disk.
func TestLowSpaceByPreparing(t *testing.T) {
	m := disk.NewMemory()
	bubble(t, m, func(o *Options) {
		m.Limit(8 << 20)
		o.MinFreeBytes = 4 << 20
		o.FreeBytes = func() (int64, int64, error) { return m.Free("") }
	}, func(t *testing.T, w *writer) {
		for range 200 {
			if w.l.Space().Low {
				break
			}
			_, err := w.append(UseClient, record.TypeMessage, body(50_000, "x"))
			must(t, err)
			if w.l.Room() < 60_000 {
				_, err := w.append(UseVital, record.TypeSeal, nil)
				must(t, err)
			}
			synctest.Wait() // no second passes
		}
		if s := w.l.Space(); !s.Low || s.Full || s.FreeBytes > 4<<20 || s.FreeBytes < 1<<20 {
			t.Errorf("%+v", s)
		}
	})
}

// Whoever lays entries out ahead learns from Limit how far they may go.
func TestLimits(t *testing.T) {
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	prepare(t, l)
	if got, want := l.Limit(FirstLSN), FirstLSN+SegmentBytesMin-SealReserve; got != want {
		t.Errorf("limit %d, want %d", got, want)
	}
	if got := l.Room(); got != SegmentBytesMin-SealReserve {
		t.Errorf("room %d", got)
	}
	e := w.must(t, record.TypeMessage, body(100, "x"))[0]
	if got := l.Room(); got != SegmentBytesMin-SealReserve-int64(e.End()-e.LSN) {
		t.Errorf("room %d", got)
	}
	next := ident.LSN(5000)
	if got, want := l.Limit(next), next+SegmentBytesMin-SealReserve; got != want {
		t.Errorf("limit %d of the segment to come, want %d", got, want)
	}
}
