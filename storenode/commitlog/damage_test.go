// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// Whatever byte of a log is damaged, recovery does what the rules say: below the
// floor it is corruption, above it the commits of later entries decide, and else
// the log ends before the damaged entry. Corruption changes nothing.
func TestDamageAnywhere(t *testing.T) {
	for seed := range seeds(t, 300) {
		damageOnce(t, seed)
	}
}

func damageOnce(t *testing.T, seed uint64) {
	t.Helper()
	rng := seeded(seed)
	m := disk.NewMemory()
	l, r := open(t, testOptions(m), RecoverOptions{})
	w := newWriter(l, r)
	var entries []record.Entry
	for range 5 + rng.IntN(60) {
		prepare(t, l)
		bodies := make([][]byte, 1+rng.IntN(3))
		for i := range bodies {
			bodies[i] = body(rng.IntN(4000), "payload")
		}
		if rng.IntN(3) == 0 {
			w.commit = l.End()
		}
		before := l.End()
		added := w.must(t, record.TypeMessage, bodies...)
		if added[0].LSN != before { // a Seal came first
			entries = append(entries, record.Entry{Header: record.Header{
				Len: record.HeaderSize, LSN: before, CommitBack: record.CommitBack(before, w.commit),
			}})
		}
		entries = append(entries, added...)
	}
	must(t, l.Sync())
	end := l.End()
	victim := entries[rng.IntN(len(entries))]
	at := victim.LSN + ident.LSN(rng.IntN(int(victim.End()-victim.LSN)))
	s := script{t: t, m: m}
	f, base, _ := s.file(at)
	var b [1]byte
	_, err := f.ReadAt(b[:], HeaderBytes+int64(at-base))
	must(t, err)
	b[0] ^= byte(1 + rng.IntN(255))
	_, err = f.WriteAt(b[:], HeaderBytes+int64(at-base))
	must(t, err)
	must(t, f.Sync())

	floor := entries[rng.IntN(len(entries))].LSN
	proven := floor > victim.LSN
	for i := range entries {
		proven = proven || entries[i].LSN > victim.LSN && entries[i].Commit() > victim.LSN
	}
	before := s.snapshot()
	l, err = Open(testOptions(m))
	must(t, err)
	defer l.Close()
	r, err = l.Recover(t.Context(), RecoverOptions{Floor: floor}, ignore)
	switch c := corruption(err); {
	case proven && c == nil:
		t.Fatalf("seed %d: damage at LSN %d of the entry at %d, floor %d: recovered %+v, %v", seed, at, victim.LSN, floor, r, err)
	case proven && (c.LSN != victim.LSN || c.LostTo < floor || c.LostTo > end):
		t.Fatalf("seed %d: damage at LSN %d, floor %d: %v", seed, victim.LSN, floor, err)
	case proven && s.snapshot() != before:
		t.Fatalf("seed %d: corruption changed the disk", seed)
	case !proven && (err != nil || r.End != victim.LSN):
		t.Fatalf("seed %d: damage at LSN %d: recovered %+v, %v", seed, victim.LSN, r, err)
	}
}
