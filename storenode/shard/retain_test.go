// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"strings"
	"testing"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// bulk stores n messages of 8 KiB in queue 0, from a number on.
func (l *life) bulk(from, n int) {
	for i := from; i < from+n; i++ {
		p := append(payload(0, "bulk", "", uint64(i)+1), make([]byte, 8<<10)...)
		if r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{p}}); r.Code != storeapi.OK {
			l.t.Fatalf("send: %v", r)
		}
	}
}

// minimum is the oldest offset of queue 0.
func (l *life) minimum() ident.Offset {
	for _, q := range l.do(&storeapi.Offsets{Topic: topicID, Group: groupID}).Result.(*storeapi.OffsetsResult).Queues {
		if q.Queue == 0 {
			return q.Min
		}
	}
	return 0
}

// until advances the clocks by steps until the condition holds. Checkpoints are
// written beside the owner, so how many steps it takes is not said; half a minute
// of real time is never enough only when it never holds.
func (l *life) until(stepMS int64, holds func() bool) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if holds() {
			return
		}
		l.offset.Add(stepMS)
	}
	l.t.Fatal("it never came to be")
}

func logFiles(t *testing.T, d *disk.Memory) (n int) {
	names, err := d.List("s")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".idx") {
			n++
		}
	}
	return n
}

func TestRetentionByBytes(t *testing.T) {
	d := disk.NewMemory()
	at := setting{disk: d, dir: "s", segmentBytes: 64 << 10, tune: func(o *Options) { o.RetentionBytes, o.RetentionMS = 256<<10, 1<<50 }}
	l := beginOn(t, at)
	l.bulk(0, 100)
	l.until(61_000, func() bool { // until there is nothing more to retire
		l.minimum()
		st := l.shard.Status()
		return st.End-st.Start <= 256<<10
	})
	if got := l.take(1, hourMS); len(got.Messages) != 1 || got.Messages[0].Offset != l.minimum() {
		t.Fatalf("the first message that is left is at %d, received %+v", l.minimum(), got.Messages)
	}
	before := l.minimum()
	at.offset = l.offset.Load()
	l.stop()
	l = beginOn(t, at)
	defer l.stop()
	if after := l.minimum(); after != before {
		t.Fatalf("the minimum was %d, after a restart it is %d", before, after)
	}
	next := 100
	l.until(61_000, func() bool { // more seals: no kept checkpoint needs the retired indexes
		l.bulk(next, 8)
		next += 8
		return next > 200 && logFiles(t, d) < 12
	})
}

func TestRetentionByAgeWaitsAfterAStart(t *testing.T) {
	l := beginOn(t, setting{disk: disk.NewMemory(), dir: "s", segmentBytes: 64 << 10, tune: func(o *Options) { o.RetentionMS = 2 * hourMS }})
	defer l.stop()
	l.bulk(0, 60)
	for range 9 {
		l.offset.Add(60_000)
		l.minimum()
	}
	if m := l.minimum(); m != 0 {
		t.Fatalf("retired up to offset %d within minutes of a start", m)
	}
	l.until(10*60_000, func() bool { return l.minimum() > 0 })
	if passed := l.offset.Load(); passed < 2*hourMS {
		t.Fatalf("retired after %d ms, retention is %d", passed, 2*hourMS)
	}
}
