// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// submit hands one whole operation over and waits for its reply.
func (l *life) submit(op *storeapi.Op) storeapi.Reply {
	done := make(chan storeapi.Reply, 1)
	op.Shard, op.Done = 1, func(r storeapi.Reply) { done <- r }
	l.shard.Submit([]*storeapi.Op{op})
	return <-done
}

// again begins the next life on the same disk.
func (l *life) again() *life {
	l.stop()
	return begin(l.t, l.disk.(*disk.Memory), l.offset.Load())
}

// TestTimesThatNobodyMayAskFor never reach the log.
func TestTimesThatNobodyMayAskFor(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	l.send(0, 1)
	wrong := []int64{-1, leaseMSMax + 1, 1<<62 + 1, 1<<63 - 1}
	for _, ms := range wrong {
		if r := l.do(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: ms}); r.Code != storeapi.Invalid {
			t.Errorf("a lease of %d ms: %v", ms, r)
		}
	}
	got := l.take(1, leaseMSMax)
	for _, ms := range wrong {
		for _, v := range []storeapi.Verdict{storeapi.Extend, storeapi.Release} {
			if code := l.verdict(named(got, 0), v, ms); code != storeapi.Invalid {
				t.Errorf("verdict %d by %d ms: %v", v, ms, code)
			}
		}
	}
	l = l.again()
	defer l.stop()
	if code := l.verdict(named(got, 0), storeapi.Extend, leaseMSMax); code != storeapi.OK {
		t.Errorf("the longest that one may ask for: %v", code)
	}
}

// TestUnsoundConfig: a configuration that comes with an operation is logged only if
// apply, and every later start, can read it.
func TestUnsoundConfig(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	named := func(name string) []byte {
		b, err := proto.Marshal(&controlv1.Topic{Id: 55, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]storeapi.Config{
		"no protobuf":       {Revision: 7, Bytes: []byte{0xff, 0xff}},
		"of something else": {Revision: 7},
		"large":             {Revision: 7, Bytes: named(string(bytes.Repeat([]byte("x"), 1<<17)))},
		"negative revision": {Revision: -1, Bytes: named("a")},
		"last revision":     {Revision: 1<<63 - 1, Bytes: named("a")},
	} {
		c.Kind, c.ID = uint8(record.ConfigTopic), 55
		r := l.submit(&storeapi.Op{
			TopicRevision: min(c.Revision, 7), Attached: []storeapi.Config{c}, Request: &storeapi.Append{Topic: 55},
		})
		if r.Code != storeapi.Invalid {
			t.Errorf("%s: %v", name, r)
		}
	}
	l = l.again()
	l.stop()
}

// TestStaleNumberIsNotLogged: what apply would refuse needs no place in the log.
func TestStaleNumberIsNotLogged(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	append1 := func(seq uint64) storeapi.Code {
		r := l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "x", "", seq)}})
		return r.Result.(*storeapi.AppendResult).Entries[0].Code
	}
	if code := append1(100_000); code != storeapi.OK {
		t.Fatal(code)
	}
	end := l.shard.Status().End
	if code := append1(1); code != storeapi.SeqTooOld {
		t.Fatal(code)
	}
	if now := l.shard.Status().End; now != end {
		t.Fatalf("the log grew by %d bytes", now-end)
	}
}

// TestTicketPasses: a receive that was called and is refused passes the call on.
func TestTicketPasses(t *testing.T) {
	l := begin(t, disk.NewMemory(), 0)
	defer l.stop()
	l.send(0, 1)
	var tickets []uint64
	park := func(id uint64) <-chan storeapi.Reply {
		return l.start(&storeapi.Park{ID: id, Group: groupID, Topic: topicID})
	}
	for id := range uint64(ticketsMax) {
		tickets = append(tickets, (<-park(id)).Result.(*storeapi.ReadyResult).Ticket)
	}
	for i, refused := range []*storeapi.Op{
		{TopicRevision: 99},         // NeedConfig
		{Deadline: l.shard.o.Now()}, // Expired
		{},                          // Invalid
	} {
		next := park(uint64(i) + 100)
		r := &storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: hourMS, Ticket: tickets[i]}
		if i == 2 {
			r.InvisibleMS = -1
		}
		refused.Request = r
		if got := l.submit(refused); slices.Contains([]storeapi.Code{storeapi.OK, storeapi.None}, got.Code) {
			t.Fatalf("%d: %v", i, got)
		}
		if got := <-next; got.Code != storeapi.Ready {
			t.Fatalf("%d: %v", i, got)
		}
	}
}

// TestTakeWhenASelectionCannotRead: a Take is answered, too, when the replica
// fails while it chooses.
func TestTakeWhenASelectionCannotRead(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.bulk(0, 12) // queue 0: in a sealed segment
	l = l.again()
	l.do(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(1, "x", "", 100), payload(1, "y", "", 101)}})
	d.Hook(func(c disk.Call) error {
		if c.Op == disk.OpRead && strings.HasSuffix(c.Name, ".idx") {
			return syscall.EIO
		}
		return nil
	})
	take := l.start(&storeapi.Take{Group: groupID, Topic: topicID, Max: 8, BytesMax: 1 << 20, InvisibleMS: hourMS})
	park := l.start(&storeapi.Park{ID: 1, Group: groupID, Topic: topicID})
	if r := <-take; r.Code != storeapi.NotLeader {
		t.Fatal(r)
	}
	if r := <-park; r.Code != storeapi.NotLeader {
		t.Fatal(r)
	}
	d.Hook(nil)
	l.stop()
}
