// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// sendOne stores a message of 8 KiB in queue 0.
func (l *life) sendOne(seq int) storeapi.Code {
	p := append(payload(0, "bulk", "", uint64(seq)+1), make([]byte, 8<<10)...)
	r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{p}})
	if r.Code != storeapi.OK {
		return r.Code
	}
	return r.Result.(*storeapi.AppendResult).Entries[0].Code
}

// fill sends until the disk is full and returns how many messages it took.
func (l *life) fill(from int) int {
	l.t.Helper()
	for n := range 1000 {
		switch code := l.sendOne(from + n); code {
		case storeapi.OK:
		case storeapi.DiskFull:
			return n
		default:
			l.t.Fatalf("send %d: %v", n, code)
		}
	}
	l.t.Fatal("the disk is never full")
	return 0
}

// exhaust leases and gives back until the log takes nothing more of that either.
func (l *life) exhaust() {
	l.t.Helper()
	for range 100_000 {
		r := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: hourMS, Client: "c"})
		if r.Code == storeapi.DiskFull {
			return
		}
		if r.Code != storeapi.OK {
			l.t.Fatalf("take: %v", r)
		}
		d := named(r.Result.(*storeapi.TakeResult), 0)
		r = l.do(&storeapi.Settle{Items: []storeapi.SettleItem{{Delivery: d, Verdict: storeapi.Release, NoCount: true}}})
		if r.Code == storeapi.DiskFull {
			return
		}
		if r.Code != storeapi.OK || r.Result.(*storeapi.SettleResult).Codes[0] != storeapi.OK {
			l.t.Fatalf("release: %v", r)
		}
	}
	l.t.Fatal("the spare is never used up")
}

func onFullDisk(d *disk.Memory, tune func(*Options)) setting {
	return setting{disk: d, dir: "s", segmentBytes: 1 << 20, tune: func(o *Options) {
		o.Free, o.RetentionMS = d.Free, 1<<50
		tune(o)
	}}
}

// TestFullDisk: on a full disk messages are refused at once, what is there can
// still be received and settled, restarts work, and sends go on when there is
// space again, which nobody has to be told.
func TestFullDisk(t *testing.T) {
	d := disk.NewMemory()
	d.Limit(6 << 20)
	at := onFullDisk(d, func(*Options) {})
	l := beginOn(t, at)
	sent, refused := l.fill(0), 0
	for i := 0; i < sent; i++ {
		if i%40 == 0 { // lives come and go meanwhile
			at.offset = l.offset.Load()
			l.stop()
			l = beginOn(t, at)
		}
		got := l.take(1, hourMS)
		if len(got.Messages) != 1 || int(got.Messages[0].Offset) != i {
			t.Fatalf("received %+v of %d, not offset %d", got.Messages, sent, i)
		}
		if code := l.verdict(named(got, 0), storeapi.Ack, 0); code != storeapi.OK {
			t.Fatalf("ack %d: %v", i, code)
		}
		switch code := l.sendOne(5000 + i); code {
		case storeapi.DiskFull:
			refused++
		case storeapi.OK:
			sent++ // a new life has prepared blocks left, until it has found out that there will be no more
		default:
			t.Fatalf("a send on a full disk: %v", code)
		}
	}
	if refused < sent/2 {
		t.Fatalf("only %d of %d sends were refused on a full disk", refused, sent)
	}
	d.Limit(16 << 20)
	next := 10_000
	l.until(1_000, func() bool { next++; return l.sendOne(next) == storeapi.OK })
	if got := l.take(64, hourMS); len(got.Messages) != 1 || int(got.Messages[0].Offset) != sent {
		t.Fatalf("after the full disk: %+v, want offset %d", got.Messages, sent)
	}
	l.stop()
}

// TestTrimOnAnExhaustedDisk: however long clients lease and give back on a full
// disk, the log keeps room for the entries that make space.
func TestTrimOnAnExhaustedDisk(t *testing.T) {
	d := disk.NewMemory()
	d.Limit(8 << 20)
	retention := int64(1 << 40)
	at := onFullDisk(d, func(o *Options) { o.RetentionBytes = retention })
	l := beginOn(t, at)
	sent := l.fill(0)
	l.exhaust()
	retention = 2 << 20 // an operator lowers it and restarts
	for range 3 {
		at.offset = l.offset.Load()
		l.stop()
		l = beginOn(t, at)
	}
	next := sent
	l.until(61_000, func() bool { // a new life may have prepared blocks left, so a send that succeeds says little
		next++
		return l.minimum() > 0 && l.sendOne(next) == storeapi.OK
	})
	l.stop()
}

// TestStopOnAFullDisk: a batch that finds no room does not keep a process alive.
func TestStopOnAFullDisk(t *testing.T) {
	d := disk.NewMemory()
	l := beginOn(t, onFullDisk(d, func(*Options) {}))
	l.bulk(0, 3) // something to lease, wherever the disk turns out to be full
	d.Limit(1)
	l.fill(3)
	l.exhaust()
	var all []<-chan storeapi.Reply
	for range 100 {
		all = append(all, l.start(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: hourMS, Client: "c"}))
	}
	l.stop()
	for _, r := range all {
		if got := <-r; got.Code == storeapi.Unknown {
			t.Fatalf("%v", got)
		}
	}
}

// TestACheckpointWithoutSpace is tried again, and the index before it is not
// written and opened once more each time.
func TestACheckpointWithoutSpace(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	var opened atomic.Int64
	again := make(chan struct{}, 8)
	d.Hook(func(c disk.Call) error {
		switch {
		case c.Op == disk.OpOpen && strings.HasSuffix(c.Name, ".idx"):
			opened.Add(1)
		case c.Op == disk.OpWrite && strings.Contains(c.Name, "ckpt-"):
			again <- struct{}{}
			return syscall.ENOSPC
		}
		return nil
	})
	l.bulk(0, 9) // one segment
	for range 3 {
		<-again
	}
	d.Hook(nil)
	l.stop()
	if n := opened.Load(); n != 1 {
		t.Fatalf("the index was opened %d times", n)
	}
}
