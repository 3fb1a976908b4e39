// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// busyLog is the log of a shard that has seen everything, clean stop included.
func busyLog(t *testing.T, seed uint64) []record.Entry {
	d := disk.NewMemory()
	o := &outage{t: t, rng: rand.New(rand.NewPCG(seed, 36)), msgs: map[string]*belief{}, at: -1}
	o.life = begin(t, d, 0)
	for range 150 {
		o.step()
	}
	o.life.stop()
	l, err := commitlog.Open(commitlog.Options{FS: d, Dir: "s", ClusterHash: 77, Shard: 1, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	var all []record.Entry
	_, err = l.Recover(t.Context(), commitlog.RecoverOptions{}, func(e *record.Entry) error {
		all = append(all, record.Entry{Header: e.Header, Body: bytes.Clone(e.Body)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fold applies one entry the way the owner does, without files.
func fold(t *testing.T, v *views, e *record.Entry) {
	var out outcome
	if err := v.apply(e, &out); err != nil {
		t.Fatal(err)
	}
	if e.Type == record.TypeSeal {
		base := v.queues.ActiveBase()
		v.queues.Freeze(base, e.End())
		v.keys.Freeze(base, e.End())
	}
}

// copyOf restores a checkpoint of v.
func copyOf(t *testing.T, v *views) *views {
	s := &Shard{views: v}
	sections, err := s.capture()
	if err != nil {
		t.Fatal(err)
	}
	n := newViews()
	for i, to := range n.sections() {
		if err := to.view.Restore(bytes.NewReader(sections[i].Data)); err != nil {
			t.Fatal(err)
		}
	}
	n.applied = v.applied
	for c := range n.catalog.All() {
		if err := n.heed(&c); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func digests(v *views) (all []uint64) {
	for _, s := range v.sections() {
		all = append(all, s.view.Digest())
	}
	return all
}

// TestRestoreIsLive restores a checkpoint at every entry boundary and lets the
// copy go on: live, restored and replayed views must never differ.
func TestRestoreIsLive(t *testing.T) {
	for seed := range uint64(5) {
		log := busyLog(t, seed)
		kinds := map[record.Type]int{}
		live, restored := newViews(), newViews()
		for i := range log {
			e := &log[i]
			kinds[e.Type]++
			fold(t, live, e)
			fold(t, restored, e)
			restored = copyOf(t, restored)
			if !slices.Equal(digests(live), digests(restored)) {
				t.Fatalf("seed %d: views differ after %v at LSN %d: %x, %x", seed, e.Type, e.LSN, digests(live), digests(restored))
			}
		}
		for _, typ := range []record.Type{record.TypeMessage, record.TypePopGrant, record.TypeSettle, record.TypeSeal, record.TypeConfig, record.TypeDeadLetter} {
			if kinds[typ] == 0 && typ != record.TypeDeadLetter {
				t.Errorf("seed %d: the log has no %v", seed, typ)
			}
		}
	}
}

// TestAReplayKeepsLittleInMemory: however many segments it goes over, it leaves no
// more than one checkpoint to be written.
func TestAReplayKeepsLittleInMemory(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.bulk(0, 60)
	l.stop()
	remove(t, d, files(t, d, "ckpt-")...)
	remove(t, d, indexes(t, d)...)
	l.reopen()
	if err := l.shard.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, sealed := len(l.shard.chores.tasks), len(l.shard.commitlog.Segments())-1; n > 1 || len(indexes(t, d)) != sealed {
		t.Errorf("%d chores wait, %d of %d segments have their index", n, len(indexes(t, d)), sealed)
	}
	if err := l.shard.release(); err != nil {
		t.Fatal(err)
	}
}
