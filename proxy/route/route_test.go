// SPDX-License-Identifier: Apache-2.0

package route

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/fakestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	incarnation = 0xabc
	topicID     = 7
)

// fixture is a router over two nodes with one shard each and a topic of four
// queues, in turn on both.
type fixture struct {
	*Router
	table *metadata.Table
	nodes [2]*fakestore.Node
	down  [2]atomic.Bool
	topic *controlv1.Topic
	rev   int64
}

// peer is a node that may be out of reach.
type peer struct {
	*fakestore.Node
	down *atomic.Bool
}

func (p *peer) Up() bool { return !p.down.Load() }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{table: metadata.NewTable(), nodes: [2]*fakestore.Node{fakestore.New(), fakestore.New()}}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			n.Close()
		}
	})
	f.Router = New(Options{
		Table: f.table, Incarnation: incarnation, Now: time.Now,
		Peers: func(n *controlv1.Node) Peer {
			if n.GetId() < 1 || n.GetId() > 2 {
				return nil
			}
			return &peer{f.nodes[n.GetId()-1], &f.down[n.GetId()-1]}
		},
	})
	f.topic = &controlv1.Topic{Id: topicID, Name: "orders", Revision: 1, Queues: []*controlv1.Queue{{Shard: 1}, {Shard: 2}, {Shard: 1}, {Shard: 2}}}
	f.apply(t, &controlv1.WatchResponse{
		Snapshot: true, Cluster: &controlv1.Cluster{Uuid: "c"}, Topics: []*controlv1.Topic{f.topic},
		Nodes:  []*controlv1.Node{{Id: 1, Name: "one", Address: "one:1"}, {Id: 2, Name: "two", Address: "two:1"}, {Id: 3, Name: "three"}},
		Shards: []*controlv1.Shard{shardLedBy(1, 1, 1), shardLedBy(2, 2, 1)},
	})
	return f
}

func (f *fixture) apply(t testing.TB, m *controlv1.WatchResponse) {
	t.Helper()
	f.rev++
	m.Revision = f.rev
	for _, s := range m.Shards {
		s.Revision = f.rev
	}
	if err := f.table.Apply(m); err != nil {
		t.Fatal(err)
	}
}

func shardLedBy(id uint32, node, term uint64) *controlv1.Shard {
	s := &controlv1.Shard{Id: id, Term: term, Phase: controlv1.Phase_PHASE_ELECTING}
	if node != 0 {
		s.Phase, s.Leader = controlv1.Phase_PHASE_STEADY, &controlv1.ReplicaID{Node: node}
	}
	return s
}

func payload(id string) []byte {
	return message.Append(nil, &message.Head{IDHash: ident.Hash64(id)}, []byte{0x1a, byte(len(id))}, []byte(id))
}

func (f *fixture) send(ctx context.Context, ids ...string) Appended {
	var payloads [][]byte
	for _, id := range ids {
		payloads = append(payloads, payload(id))
	}
	return f.Append(ctx, f.topic, payloads, time.Now().Add(3*time.Second))
}

func (f *fixture) stored() (n int) {
	for i, node := range f.nodes {
		n += len(node.Stored(ident.Shard(i+1), topicID))
	}
	return n
}

// fail answers the first n Appends at a node with a code, after the store did
// them if done says so.
func fail(node *fakestore.Node, n int, code storeapi.Code, done bool) {
	var count atomic.Int32
	node.Intercept(func(op *storeapi.Op) bool {
		if _, ok := op.Request.(*storeapi.Append); !ok || count.Add(1) > int32(n) {
			return false
		}
		reply := op.Done
		if done {
			op.Done = func(storeapi.Reply) {}
			node.Serve(op)
		}
		reply(storeapi.Reply{Code: code, Term: fakestore.Term})
		return true
	})
}

func TestAppendInTurn(t *testing.T) {
	f := newFixture(t)
	count := map[ident.Queue]int{}
	for i := range 8 {
		a := f.send(t.Context(), strconv.Itoa(i))
		if a.Code != storeapi.OK || len(a.Entries) != 1 || a.Entries[0].Code != storeapi.OK {
			t.Fatalf("%+v", a)
		}
		count[a.Queue]++
	}
	for q := range ident.Queue(4) {
		if count[q] != 2 {
			t.Errorf("queue %d got %d of 8 messages", q, count[q])
		}
	}
	for i, node := range f.nodes {
		for j, p := range node.Stored(ident.Shard(i+1), topicID) {
			if p.Proxy() != incarnation || p.Seq() != uint64(j+1) || p.Topic() != topicID {
				t.Errorf("shard %d message %d: source %x/%d, topic %d", i+1, j, p.Proxy(), p.Seq(), p.Topic())
			}
		}
	}
}

func TestAppendBatch(t *testing.T) {
	f := newFixture(t)
	a := f.send(t.Context(), "a", "b", "c")
	if a.Code != storeapi.OK || len(a.Entries) != 3 {
		t.Fatalf("%+v", a)
	}
	for i, e := range a.Entries {
		if e.Offset != int64(i) {
			t.Errorf("entry %d has offset %d: a batch lies side by side in one queue", i, e.Offset)
		}
	}
}

// TestAppendElsewhere says that a send goes to another shard exactly when nothing
// was done, and that each outcome stores the message once.
func TestAppendElsewhere(t *testing.T) {
	for _, code := range []storeapi.Code{
		storeapi.NotLeader, storeapi.Unavailable, storeapi.Overloaded, storeapi.DiskFull, storeapi.Expired,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			fail(f.nodes[0], 1000, code, false)
			for i := range 4 {
				if a := f.send(t.Context(), strconv.Itoa(i)); a.Code != storeapi.OK || a.Shard != 2 {
					t.Errorf("%v: %+v, want it stored on shard 2", code, a)
				}
			}
			if n := f.stored(); n != 4 {
				t.Errorf("%v: %d messages stored, want 4", code, n)
			}
		})
	}
}

// TestAppendUnknown says that after an unknown outcome the send stays with its
// shard and its number, so that it is stored once whether or not the first
// attempt had been.
func TestAppendUnknown(t *testing.T) {
	for _, done := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			for _, n := range f.nodes {
				fail(n, 2, storeapi.Unknown, done)
			}
			a := f.send(t.Context(), "a")
			if a.Code != storeapi.OK || a.Entries[0].Offset != 0 {
				t.Errorf("done %v: %+v", done, a)
			}
			if n := f.stored(); n != 1 {
				t.Errorf("done %v: %d messages stored, want 1", done, n)
			}
			if f.Counters().Unknown.Load() != 2 {
				t.Errorf("%d unknown outcomes counted, want 2", f.Counters().Unknown.Load())
			}
		})
	}
}

// TestAppendStaysUnknown says that what follows an unknown outcome never makes
// the send leave its shard.
func TestAppendStaysUnknown(t *testing.T) {
	for _, after := range []storeapi.Code{storeapi.NotLeader, storeapi.Unavailable, storeapi.Expired, storeapi.SeqTooOld} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			for _, node := range f.nodes {
				var count atomic.Int32
				node.Intercept(func(op *storeapi.Op) bool {
					if count.Add(1) == 1 {
						op.Done(storeapi.Reply{Code: storeapi.Unknown})
					} else {
						op.Done(storeapi.Reply{Code: after})
					}
					return true
				})
			}
			start := time.Now()
			a := f.send(t.Context(), "a")
			want := storeapi.Unknown
			if after == storeapi.SeqTooOld {
				want = after // the shard's own word that it cannot know
			}
			if a.Code != want {
				t.Errorf("after %v: %v, want %v", after, a.Code, want)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("after %v: gave up after %v", after, took)
			}
			tried := 0
			for _, node := range f.nodes {
				if len(node.Requests()) > 0 {
					tried++
				}
			}
			if tried != 1 {
				t.Errorf("after %v: %d shards were tried, want 1", after, tried)
			}
		})
	}
}

// TestAppendDeadStore says that a store that never answers costs a third of the
// time, not all of it.
func TestAppendDeadStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.nodes[0].Intercept(func(op *storeapi.Op) bool {
			time.AfterFunc(time.Until(op.Deadline), func() { op.Done(storeapi.Reply{Code: storeapi.Expired}) })
			return true
		})
		for range 4 {
			start := time.Now()
			if a := f.send(t.Context(), "a"); a.Code != storeapi.OK || a.Shard != 2 {
				t.Errorf("%+v", a)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("answered after %v of 3 s", took)
			}
		}
	})
}

// TestReach: shards whose leader is not reached count as not led, and are the last to be tried.
func TestReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.down[0].Store(true)
		if led, all := f.Leaders(); led != 1 || all != 2 {
			t.Errorf("%d of %d shards led", led, all)
		}
		for range 4 {
			if a := f.send(t.Context(), "a"); a.Code != storeapi.OK || a.Shard != 2 {
				t.Errorf("%+v", a)
			}
		}
		f.down[1].Store(true)
		if led, _ := f.Leaders(); led != 0 {
			t.Errorf("%d shards led", led)
		}
		if a := f.send(t.Context(), "a"); a.Code != storeapi.OK {
			t.Errorf("when no other is left a peer that is not up may still answer: %+v", a)
		}
	})
}

func TestAppendNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.apply(t, &controlv1.WatchResponse{Shards: []*controlv1.Shard{shardLedBy(1, 0, 2), shardLedBy(2, 3, 2)}})
		if led, all := f.Leaders(); led != 0 || all != 2 {
			t.Errorf("%d of %d shards led", led, all)
		}
		start := time.Now()
		if a := f.send(t.Context(), "a"); a.Code != storeapi.Unavailable {
			t.Errorf("%+v, want unavailable", a)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("gave up after %v, want the whole time", took)
		}
		go func() {
			timer := time.NewTimer(time.Second)
			<-timer.C
			f.apply(t, &controlv1.WatchResponse{Shards: []*controlv1.Shard{shardLedBy(1, 1, 3)}})
		}()
		start = time.Now()
		if a := f.send(t.Context(), "b"); a.Code != storeapi.OK || a.Shard != 1 {
			t.Errorf("%+v, want it stored by the new leader", a)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("stored after %v, want at the moment of the election", took)
		}
	})
}

// TestHint says that a leader named by a store is believed before the metadata
// names it, and only while it is newer.
func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.apply(t, &controlv1.WatchResponse{Shards: []*controlv1.Shard{shardLedBy(2, 1, 2)}}) // node 1 leads both
		f.nodes[0].Intercept(func(op *storeapi.Op) bool {
			op.Done(storeapi.Reply{Code: storeapi.NotLeader, Leader: "two:1", Term: 5})
			return true
		})
		start := time.Now()
		if a := f.send(t.Context(), "a"); a.Code != storeapi.OK {
			t.Errorf("%+v", a)
		}
		if time.Since(start) != 0 {
			t.Errorf("waited %v although the reply named the leader", time.Since(start))
		}
		f.nodes[0].Intercept(nil)
		f.apply(t, &controlv1.WatchResponse{Shards: []*controlv1.Shard{shardLedBy(1, 1, 6), shardLedBy(2, 1, 6)}})
		f.nodes[1].Requests()
		f.send(t.Context(), "b")
		if n := len(f.nodes[1].Requests()); n != 0 {
			t.Error("an old hint won over a newer term of the metadata")
		}
	})
}

// TestTermEnds says that messages whose outcome a leader no longer knew are sent
// again with their numbers, and so stored once.
func TestTermEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		ended := 0
		for _, n := range f.nodes {
			n.Intercept(func(op *storeapi.Op) bool {
				ended++
				if ended > 2 {
					return false
				}
				done := op.Done
				op.Done = func(r storeapi.Reply) {
					r.Result.(*storeapi.AppendResult).Entries[ended%2].Code = storeapi.Unknown
					done(r)
				}
				return false
			})
		}
		a := f.send(t.Context(), "a", "b")
		if a.Code != storeapi.OK || a.Entries[0].Code != storeapi.OK || a.Entries[1].Code != storeapi.OK || f.stored() != 2 {
			t.Errorf("%+v, %d stored", a, f.stored())
		}
	})
}

func TestAppendCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, n := range f.nodes {
			n.Intercept(func(op *storeapi.Op) bool {
				cancel()
				op.Done(storeapi.Reply{Code: storeapi.NotLeader})
				return true
			})
		}
		if a := f.send(ctx, "a"); a.Code != storeapi.NotLeader {
			t.Errorf("%+v", a)
		}
		if n := len(f.nodes[0].Requests()) + len(f.nodes[1].Requests()); n != 1 {
			t.Errorf("%d attempts for a caller that went away during the first", n)
		}
		f.send(ctx, "b")
		f.Do(ctx, &Request{Shard: 1, Topic: f.topic, Request: &storeapi.Settle{}, Deadline: time.Now().Add(time.Second)})
		if n := len(f.nodes[0].Requests()) + len(f.nodes[1].Requests()); n != 0 {
			t.Errorf("%d attempts for a caller that was gone before", n)
		}
	})
}

// TestNeedConfig says that the configuration is attached exactly when asked for.
func TestNeedConfig(t *testing.T) {
	f := newFixture(t)
	group := &controlv1.Group{Id: 9, Name: "g", Revision: 4}
	start := &controlv1.Start{Group: 9, Topic: topicID, Revision: 5}
	for _, n := range f.nodes {
		n.Intercept(func(op *storeapi.Op) bool {
			if op.TopicRevision != f.topic.GetRevision() {
				t.Errorf("topic revision %d", op.TopicRevision)
			}
			if len(op.Attached) == 0 {
				op.Done(storeapi.Reply{Code: storeapi.NeedConfig})
				return true
			}
			return false
		})
	}
	if a := f.send(t.Context(), "a"); a.Code != storeapi.OK {
		t.Errorf("%+v", a)
	}
	var attached []storeapi.Config
	f.nodes[0].Intercept(func(op *storeapi.Op) bool {
		if len(op.Attached) == 0 {
			op.Done(storeapi.Reply{Code: storeapi.NeedConfig})
			return true
		}
		attached = op.Attached
		return false
	})
	r := f.Do(t.Context(), &Request{
		Shard: 1, Topic: f.topic, Group: group, Start: start, Request: &storeapi.Take{Group: 9, Topic: topicID, Max: 1},
		Deadline: time.Now().Add(time.Second),
	})
	if r.Code != storeapi.OK && r.Code != storeapi.None {
		t.Errorf("%+v", r)
	}
	if len(attached) != 3 || attached[0].ID != topicID || attached[1].ID != 9 || attached[2].Kind != storeapi.ConfigStart || attached[2].Revision != 5 {
		t.Errorf("attached %+v", attached)
	}
}

func TestDo(t *testing.T) {
	ask := func(f *fixture, repeatable, hasty bool) storeapi.Reply {
		return f.Do(context.Background(), &Request{
			Shard: 1, Topic: f.topic, Request: &storeapi.Offsets{Topic: topicID}, Repeatable: repeatable, Hasty: hasty,
			Deadline: time.Now().Add(3 * time.Second),
		})
	}
	for _, tc := range []struct {
		name              string
		code              storeapi.Code // of the first two attempts
		repeatable, hasty bool
		want              storeapi.Code
		attempts          int
	}{
		{"answers", storeapi.InvalidHandle, true, false, storeapi.InvalidHandle, 1},
		{"nothing done", storeapi.NotLeader, false, false, storeapi.OK, 3},
		{"nothing done, hasty", storeapi.NotLeader, false, true, storeapi.NotLeader, 1},
		{"unknown", storeapi.Unknown, false, false, storeapi.Unknown, 1},
		{"unknown, repeatable", storeapi.Unknown, true, false, storeapi.OK, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			var count atomic.Int32
			f.nodes[0].Intercept(func(op *storeapi.Op) bool {
				if count.Add(1) > 2 {
					return false
				}
				op.Done(storeapi.Reply{Code: tc.code})
				return true
			})
			if r := ask(f, tc.repeatable, tc.hasty); r.Code != tc.want {
				t.Errorf("%s: %v, want %v", tc.name, r.Code, tc.want)
			}
			if n := len(f.nodes[0].Requests()); n != tc.attempts {
				t.Errorf("%s: %d attempts, want %d", tc.name, n, tc.attempts)
			}
		})
	}
}

func TestStart(t *testing.T) {
	f := newFixture(t)
	got := storeapi.Internal
	f.Start(&Request{Shard: 1, Topic: f.topic, Request: &storeapi.Offsets{Topic: topicID}}, func(r storeapi.Reply) { got = r.Code })
	if got != storeapi.OK {
		t.Errorf("%v", got)
	}
	f.Start(&Request{Shard: 99, Topic: f.topic, Request: &storeapi.Offsets{Topic: topicID}}, func(r storeapi.Reply) { got = r.Code })
	if got != storeapi.Unavailable {
		t.Errorf("%v for a shard that nobody leads", got)
	}
}

func TestShards(t *testing.T) {
	f := newFixture(t)
	if got := fmt.Sprint(f.Shards(f.topic)); got != "[1 2]" {
		t.Errorf("shards %s", got)
	}
	grown := &controlv1.Topic{Id: topicID, Revision: 2, Queues: append(f.topic.GetQueues(), &controlv1.Queue{Shard: 3})}
	if got := fmt.Sprint(f.Shards(grown)); got != "[1 2 3]" {
		t.Errorf("shards of the grown topic %s", got)
	}
}

// TestForgets says that what a router keeps of a topic goes with the topic.
func TestForgets(t *testing.T) {
	f := newFixture(t)
	f.send(t.Context(), "a")
	f.apply(t, &controlv1.WatchResponse{DeletedTopics: []uint64{topicID}, DeletedShards: []uint32{1, 2}})
	for name, m := range map[string]interface{ Range(func(k, v any) bool) }{"topics": &f.topics, "shards": &f.shards} {
		m.Range(func(k, _ any) bool { t.Errorf("%s still has %v", name, k); return true })
	}
}

func TestAdmission(t *testing.T) {
	f := newFixture(t)
	f.o.SendsMax, f.o.SendBytesMax = 2, 300
	if a := f.send(t.Context(), string(make([]byte, 200))+"x"); a.Code != storeapi.OK {
		t.Errorf("a send within the bounds: %+v", a)
	}
	if !f.admit(250) || f.admit(100) || !f.admit(10) || f.admit(1) {
		t.Error("the bounds of bytes and sends do not hold")
	}
	if a := f.send(t.Context(), "y"); a.Code != storeapi.Overloaded {
		t.Errorf("a send above the bounds: %+v", a)
	}
	f.done(250)
	f.done(10)
	if !f.admit(1000) {
		t.Error("a single send larger than the bound could never be sent")
	}
	f.done(1000)
	if sends, bytes := f.InFlight(); sends != 0 || bytes != 0 {
		t.Errorf("%d sends, %d bytes left over", sends, bytes)
	}
}

// TestWindow holds the window against a set of the numbers in use.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		type run struct {
			first uint64
			n     int
		}
		var runs []run
		next := uint64(1)
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				n := rapid.IntRange(1, 2000).Draw(t, "n")
				oldest := next
				for _, r := range runs {
					oldest = min(oldest, r.first)
				}
				first, ok := w.reserve(n)
				if want := next+uint64(n)-oldest <= storeapi.SeqWindow; ok != want {
					t.Fatalf("reserve %d: %v, next is %d, oldest in use %d", n, ok, next, oldest)
				}
				if !ok {
					return
				}
				if first != next {
					t.Fatalf("first %d, want %d", first, next)
				}
				next += uint64(n)
				runs = append(runs, run{first, n})
			},
			"release": func(t *rapid.T) {
				if len(runs) == 0 {
					return
				}
				i := rapid.IntRange(0, len(runs)-1).Draw(t, "run")
				w.release(runs[i].first, runs[i].n)
				runs = append(runs[:i], runs[i+1:]...)
			},
		})
	})
}

// TestWindowFull says that a full window of one shard leaves the others usable,
// and that all being full is an overload.
func TestWindowFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.shard(1).window.reserve(storeapi.SeqWindow)
		if a := f.send(t.Context(), "a"); a.Code != storeapi.OK || a.Shard != 2 {
			t.Errorf("%+v", a)
		}
		f.shard(2).window.reserve(storeapi.SeqWindow)
		if a := f.send(t.Context(), "b"); a.Code != storeapi.Overloaded {
			t.Errorf("%+v, want overloaded", a)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	f := newFixture(b)
	f.nodes[0].Intercept(answer)
	f.nodes[1].Intercept(answer)
	payloads := [][]byte{payload("a")}
	b.ReportAllocs()
	for b.Loop() {
		f.Append(b.Context(), f.topic, payloads, time.Now().Add(time.Second))
		f.nodes[0].Requests()
		f.nodes[1].Requests()
	}
}

var oneEntry = &storeapi.AppendResult{Entries: make([]storeapi.Appended, 1)}

func answer(op *storeapi.Op) bool {
	op.Done(storeapi.Reply{Result: oneEntry})
	return true
}
