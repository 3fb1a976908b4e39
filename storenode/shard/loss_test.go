// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
)

// failure runs the replica until its recovery has failed and returns why.
func (l *life) failure() string {
	l.t.Helper()
	s, err := Open(l.options())
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	_, err = s.Fence(l.t.Context(), l.term+1, replica.Seen{})
	cancel()
	<-ended
	if err == nil || s.Status().Role != replica.Failed {
		l.t.Fatalf("a corrupt log came up as %v: %v", s.Status().Role, err)
	}
	return s.Status().Failure
}

// spoilBody flips a bit in the last body that holds a text.
func spoilBody(t *testing.T, d *disk.Memory, name, text string) {
	t.Helper()
	b, err := disk.ReadFile(d, name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(b, []byte(text))
	if at < 0 {
		t.Fatalf("%s holds no %q", name, text)
	}
	b[at] ^= 1
	if err := disk.Replace(d, name, b); err != nil {
		t.Fatal(err)
	}
}

// TestAcceptLoss: a corrupt log stays failed until an operator gives up what it
// lost; then the shard goes on with what is before, and says so in its barrier.
func TestAcceptLoss(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.send(0, 3)
	l.send(3, 1) // the one that will be lost
	l.stop()
	remove(t, d, files(t, d, "ckpt-")...)
	spoilBody(t, d, files(t, d, ".log")[0], "body of m3")

	why := l.failure()
	from, _ := lossOf(t, why)
	if again := l.failure(); again != why {
		t.Fatalf("failed with %q, then with %q", why, again)
	}
	if _, err := AcceptLoss(t.Context(), l.options(), from+8); !fault.Is(err, fault.Invalid) {
		t.Fatalf("gave up from the middle of an entry: %v", err)
	}
	for range 2 { // a second time, as after a crash, changes nothing
		lost, err := AcceptLoss(t.Context(), l.options(), from)
		if err != nil || lost.From != from {
			t.Fatalf("gave up %+v, %v", lost, err)
		}
	}
	l = begin(t, d, 0)
	if got := l.take(10, hourMS); len(got.Messages) != 3 {
		t.Fatalf("%d messages are left, want 3", len(got.Messages))
	}
	l.send(10, 1)
	l.stop()
	if n := uncleanBarriers(t, d); n != 1 {
		t.Fatalf("%d barriers say that entries may be missing, want 1", n)
	}
	l = begin(t, d, 0)
	l.stop()
	if n := uncleanBarriers(t, d); n != 1 {
		t.Fatalf("%d barriers say it after a restart", n)
	}
}

func uncleanBarriers(t *testing.T, d *disk.Memory) (n int) {
	t.Helper()
	l, err := commitlog.Open(commitlog.Options{FS: d, Dir: "s", ClusterHash: 77, Shard: 1, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Recover(t.Context(), commitlog.RecoverOptions{}, func(e *record.Entry) error {
		if e.Type == record.TypeTermStart {
			b, err := record.DecodeTermStart(e.Body)
			if err != nil {
				return err
			}
			if b.Unclean {
				n++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// lossOf returns the LSNs that a failure names.
func lossOf(t *testing.T, why string) (from, to ident.LSN) {
	t.Helper()
	_, what, _ := strings.Cut(why, "log corrupt at ")
	if _, err := fmt.Sscanf(what, "LSN %d, lost up to LSN %d", &from, &to); err != nil {
		t.Fatalf("the failure does not name what is lost: %s", why)
	}
	return from, to
}

// trimmedLog is a shard that has retired segments, stopped; its newest
// checkpoint is that of a Seal, and the Trim lies behind it.
func trimmedLog(t *testing.T) (*disk.Memory, *life, setting, ident.Offset) {
	t.Helper()
	d := disk.NewMemory()
	at := setting{disk: d, dir: "s", segmentBytes: 64 << 10, tune: func(o *Options) { o.RetentionMS, o.RetentionBytes = 1<<50, 256<<10 }}
	l := beginOn(t, at)
	l.bulk(0, 100)
	l.until(61_000, func() bool {
		l.minimum()
		st := l.shard.Status()
		return st.End-st.Start <= 256<<10
	})
	minimum := l.minimum()
	at.offset = l.offset.Load()
	l.stop()
	all := files(t, d, "ckpt-")
	remove(t, d, all[len(all)-1])
	return d, l, at, minimum
}

// TestAcceptLossOfATrim: what retired the oldest segments is given up with the
// rest; they are gone all the same, and the next term says so again.
func TestAcceptLossOfATrim(t *testing.T) {
	d, l, at, minimum := trimmedLog(t)
	logs := files(t, d, ".log")
	b, err := disk.ReadFile(d, logs[len(logs)-1])
	if err != nil {
		t.Fatal(err)
	}
	b[4096+60] ^= 1 // in the first entry behind the checkpoint
	if err := disk.Replace(d, logs[len(logs)-1], b); err != nil {
		t.Fatal(err)
	}
	from, _ := lossOf(t, l.failure())
	if _, err := AcceptLoss(t.Context(), l.options(), from); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l = beginOn(t, at)
		if got := l.minimum(); got > minimum { // lower: files that were retired and not given back yet are part of the log again
			t.Fatalf("the minimum was %d, is %d", minimum, got)
		}
		l.bulk(1000, 10)
		at.offset = l.offset.Load()
		l.stop()
	}
	if m, _, err := replica.LoadMeta(d, "s"); err != nil || m.Unclean {
		t.Fatalf("what was given up is still to be said: %+v, %v", m, err)
	}
}

// TestAcceptLossThatLeavesNothing: a log without its beginning is nothing without
// a checkpoint, so none of it is given up.
func TestAcceptLossThatLeavesNothing(t *testing.T) {
	d, l, _, _ := trimmedLog(t)
	logs := files(t, d, ".log")
	remove(t, d, logs[1])
	why := l.failure()
	from, _ := lossOf(t, why)
	if strings.Contains(why, "accept-loss") || !strings.Contains(why, "backup") {
		t.Errorf("advises what does not help: %s", why)
	}
	if _, err := AcceptLoss(t.Context(), l.options(), from); !fault.Is(err, fault.Invalid) {
		t.Fatalf("gave up a log of which nothing would be left: %v", err)
	}
	if left := files(t, d, ".log"); len(left) != len(logs)-1 {
		t.Fatalf("%d of %d files are left", len(left), len(logs)-1)
	}
}
