// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// life drives a log at random through appends, syncs, seals, trims and crashes,
// and knows what must be there afterwards: every synced entry, behind it any
// prefix of what else was appended, and nothing else ever.
type life struct {
	rng     *rand.Rand
	disk    *disk.Memory
	crashed *disk.Memory // the disk at the moment of a crash inside a call
	lies    bool

	l       *Log
	w       *writer
	entries []record.Entry // attempted, oldest first, from the log's birth
	synced  ident.LSN
	trimmed ident.LSN
	calls   int // until the crash inside a call
	clean   bool
}

func newLife(seed uint64) *life {
	v := &life{rng: seeded(seed), disk: disk.NewMemory(), synced: FirstLSN, trimmed: FirstLSN, calls: -1}
	return v
}

// hook counts down to the crash inside a call.
func (v *life) hook(disk.Call) error {
	if v.calls == 0 {
		v.crashed = v.disk.Crash(v.rng)
	}
	v.calls--
	return nil
}

// begin opens the log on the current disk and checks it against the model. A
// crash may be planned within it.
func (v *life) begin(ctx context.Context) error {
	v.disk.Hook(v.hook)
	if v.lies {
		v.disk.Lie()
	}
	l, err := Open(testOptions(v.disk))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	v.l = l
	o := RecoverOptions{Clean: v.clean}
	if v.clean || v.rng.IntN(2) == 0 {
		o.Floor = v.synced
	}
	i, broken := v.after(l.Start()), error(nil)
	r, err := l.Recover(ctx, o, func(e *record.Entry) error {
		if i >= len(v.entries) {
			return fmt.Errorf("an entry at LSN %d that was never appended", e.LSN)
		}
		broken = sameEntry(e, &v.entries[i])
		i++
		return broken
	})
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if v.crashed != nil {
		return nil // only the order of calls mattered
	}
	if r.End < v.synced || l.Start() > v.trimmed {
		return fmt.Errorf("log is [%d, %d), synced up to %d, trimmed up to %d", l.Start(), r.End, v.synced, v.trimmed)
	}
	if v.clean && (r.End != v.synced || r.Torn) {
		return fmt.Errorf("closed at %d, recovered %+v", v.synced, r)
	}
	v.entries = v.entries[:i]
	v.synced, v.clean = l.Synced(), false
	v.w = newWriter(l, r)
	v.w.commit = v.synced
	return v.reads(ctx)
}

// after is the index of the first entry at or behind lsn.
func (v *life) after(lsn ident.LSN) int {
	for i := range v.entries {
		if v.entries[i].LSN >= lsn {
			return i
		}
	}
	return len(v.entries)
}

// reads compares what Read and Scan say with the model.
func (v *life) reads(ctx context.Context) error {
	i := v.after(v.l.Start())
	var buf []byte
	err := v.l.Scan(ctx, v.l.Start(), 0, func(e *record.Entry) error {
		if err := sameEntry(e, &v.entries[i]); err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		var got record.Entry
		var err error
		if got, buf, err = v.l.Read(e.LSN, buf); err != nil {
			return err
		}
		i++
		return sameEntry(&got, e)
	})
	if err == nil && i != len(v.entries) {
		err = fmt.Errorf("scan saw %d of %d entries", i, len(v.entries))
	}
	return err
}

// end makes the disk what a crash leaves, or leaves it as a killed or a stopped
// process does.
func (v *life) end() error {
	err := error(nil)
	switch {
	case v.crashed != nil:
		v.disk, v.crashed = v.crashed, nil
	case v.rng.IntN(3) == 0: // killed: the kernel keeps what was written
		v.disk.Hook(nil)
	case v.rng.IntN(4) == 0 && v.l.usable() == nil:
		err = v.sync()
		v.clean = err == nil
	default:
		v.disk.Hook(nil)
		v.disk = v.disk.Crash(v.rng)
	}
	v.calls = -1
	return err
}

func (v *life) sync() error {
	end := v.l.End()
	if err := v.l.Sync(); err != nil {
		return err
	}
	if v.crashed == nil {
		v.synced = end
		v.w.commit = end
	}
	return nil
}

// append appends a block, sealing when it has to. What is attempted counts as
// possible before it is written.
func (v *life) append(typ record.Type, bodies ...[]byte) error {
	b, entries := v.w.block(typ, bodies...)
	for more := true; more && v.l.Prepared() < int64(len(b)); {
		var err error
		if more, err = v.l.step(); err != nil {
			return err
		}
	}
	if v.crashed == nil {
		v.entries = append(v.entries, entries...)
	}
	return v.l.AppendAs(UseVital, b, entries[len(entries)-1].Header)
}

func (v *life) bodies() [][]byte {
	out := make([][]byte, 1+v.rng.IntN(4))
	for i := range out {
		n := v.rng.IntN(600)
		if v.rng.IntN(30) == 0 {
			n = v.rng.IntN(5000)
		}
		out[i] = make([]byte, n)
		for j := range out[i] {
			out[i][j] = byte(v.rng.IntN(4)) // zeros too
		}
	}
	return out
}

// act does one random thing.
func (v *life) act() error {
	switch n := v.rng.IntN(100); {
	case n < 55:
		bodies := v.bodies()
		need := int64(0)
		for _, b := range bodies {
			need += int64(record.Padded(record.HeaderSize + len(b)))
		}
		if v.l.Room() < need {
			return v.append(record.TypeSeal, nil)
		}
		v.w.timeMS += int64(v.rng.IntN(3))
		return v.append(record.TypeMessage, bodies...)
	case n < 80:
		return v.sync()
	case n < 83:
		return v.append(record.TypeSeal, nil)
	case n < 86:
		list := v.l.Segments()
		base := list[v.rng.IntN(len(list))].Base
		if base >= v.l.Synced() {
			return nil
		}
		if v.crashed == nil {
			v.trimmed = max(v.trimmed, base)
		}
		return v.l.Trim(base)
	default:
		_, err := v.l.step()
		return err
	}
}

// live runs some lives on one disk, each ended by a crash, a kill or a stop.
func (v *life) live(ctx context.Context) error {
	for range 4 {
		if v.rng.IntN(4) == 0 {
			v.calls = v.rng.IntN(12) // crash while recovering, or soon after
		}
		if err := v.begin(ctx); err != nil {
			return err
		}
		if v.crashed == nil && v.rng.IntN(2) == 0 {
			v.calls = v.rng.IntN(300)
		}
		for range 20 + v.rng.IntN(200) {
			if v.crashed != nil {
				break
			}
			if err := v.act(); err != nil {
				return err
			}
		}
		if err := v.end(); err != nil {
			return err
		}
		if err := v.l.Close(); err != nil {
			return err
		}
	}
	return v.check(ctx)
}

// check opens the log a last time, without planning a crash.
func (v *life) check(ctx context.Context) error {
	v.calls = -1
	if err := v.begin(ctx); err != nil {
		return err
	}
	return v.l.Close()
}

// seeds is how many random lives a test tries: MANSIO_SEEDS, or what is quick.
func seeds(t *testing.T, quick uint64) uint64 {
	t.Helper()
	if s := os.Getenv("MANSIO_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		must(t, err)
		return n
	}
	return quick / thin
}

// What was synced is there after any crash, and what is there was appended: no
// stale bytes come back (S18). Built with the tag nosync, this test must fail.
func TestCrashes(t *testing.T) {
	for seed := range seeds(t, 1000) {
		if err := newLife(seed).live(t.Context()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// The test above is worth something: on a disk that only claims to sync, it
// fails.
func TestCrashesNoticeALyingDisk(t *testing.T) {
	noticed := 0
	for seed := range uint64(40) {
		v := newLife(seed)
		v.lies = true
		if err := v.live(t.Context()); err != nil {
			noticed++
			if v.l != nil {
				v.l.Close()
			}
		}
	}
	if noticed < 20 {
		t.Errorf("a lying disk was noticed in %d of 40 lives", noticed)
	}
}
