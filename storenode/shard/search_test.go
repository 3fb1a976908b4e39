// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestQueryByTimeFarIntoASegment finds what stands behind more old messages than
// one query reads, page by page, in the active segment and in sealed ones.
func TestQueryByTimeFarIntoASegment(t *testing.T) {
	const old, wanted = 34, 5
	for name, size := range map[string]int64{"active": 256 << 20, "sealed": 72 << 20} {
		t.Run(name, func(t *testing.T) {
			l := beginOn(t, setting{disk: disk.NewMemory(), dir: "s", segmentBytes: size})
			defer l.stop()
			send := func(i, bytes int) {
				p := append(payload(0, "x", "", uint64(i)+1), make([]byte, bytes)...)
				if r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{p}}); r.Code != storeapi.OK {
					t.Fatal(r)
				}
			}
			for i := range old {
				send(i, 2<<20)
			}
			l.offset.Add(10_000)
			for i := range wanted {
				send(old+i, 10)
			}
			if name == "sealed" {
				l.offset.Add(10_000)
				send(old+wanted, 8<<20)
			}
			q := storeapi.Query{Topic: topicID, FromMS: 1_000*hourMS + 5_000, ToMS: 1_000*hourMS + 15_000, Max: 2}
			n := 0
			for more := true; more; {
				r := l.do(&q).Result.(*storeapi.QueryResult)
				if more = r.More; more && len(r.Messages) == 0 {
					t.Fatal("no progress")
				}
				for _, m := range r.Messages {
					q.After = m.LSN
					n++
				}
			}
			if n != wanted {
				t.Fatalf("found %d of %d", n, wanted)
			}
			q.After += ident.LSN(8) // names no entry
			if r := l.do(&q); r.Code != storeapi.OK {
				t.Fatal(r)
			}
		})
	}
}

// TestQueryByTimeGetsOn: a scan that ends at its limit says where the next one goes
// on, also when it has found nothing, and also when it was told to go on at a place
// where no entry stands.
func TestQueryByTimeGetsOn(t *testing.T) {
	l := beginOn(t, setting{disk: disk.NewMemory(), dir: "s", segmentBytes: 256 << 20})
	defer l.stop()
	for i := range 34 {
		h := message.Head{Topic: graveID, IDHash: uint64(i), Proxy: 9, Seq: uint64(i) + 1}
		p := message.Append(nil, &h, nil, make([]byte, 2<<20))
		if r := l.do(&storeapi.Append{Topic: graveID, Payloads: [][]byte{p}}); r.Code != storeapi.OK {
			t.Fatal(r)
		}
	}
	l.send(100, 2)
	ask := func(after ident.LSN) *storeapi.QueryResult {
		r := l.do(&storeapi.Query{Topic: topicID, FromMS: 1, ToMS: 1 << 60, After: after, Max: 16})
		return r.Result.(*storeapi.QueryResult)
	}
	first := ask(0)
	if !first.More || first.Next == 0 || len(first.Messages) != 0 {
		t.Fatalf("more %v, next %d, %d messages", first.More, first.Next, len(first.Messages))
	}
	rest := ask(first.Next - 1)
	if rest.More || rest.Next != 0 || len(rest.Messages) != 2 {
		t.Fatalf("from %d on: more %v, next %d, %d messages", first.Next, rest.More, rest.Next, len(rest.Messages))
	}
	if got := ask(rest.Messages[1].LSN + 3); got.Next != first.Next {
		t.Fatalf("behind no entry: next %d, want %d", got.Next, first.Next)
	}
}
