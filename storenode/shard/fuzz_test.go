// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/replica"
)

// maker makes operations of what a fuzzer gives: each byte chooses something.
type maker struct {
	b     []byte
	parks uint64
	last  *storeapi.TakeResult
}

func (m *maker) byte() byte {
	if len(m.b) == 0 {
		return 0
	}
	c := m.b[0]
	m.b = m.b[1:]
	return c
}

var extremes = [...]uint64{
	0, 1, 2, 3, 60_000, 1 << 31, 1<<32 - 1, 1 << 32, 1<<62 - 1, 1 << 62, 1<<62 + 1, math.MaxInt64, 1 << 63, math.MaxUint64,
}

func (m *maker) number() uint64 { return extremes[int(m.byte())%len(extremes)] }

func (m *maker) id() uint64 { // mostly one that exists
	if c := m.byte(); c < 200 {
		return uint64(c%3) + 1
	}
	return m.number()
}

func (m *maker) revision() int64 {
	if m.byte() < 200 {
		return 1
	}
	return int64(m.number())
}

func (m *maker) text() string {
	return strings.Repeat("c", [...]int{0, 1, 1, 1, clientBytesMax, clientBytesMax + 1, 1 << 17}[m.byte()%7])
}

func (m *maker) filter() (f storeapi.Filter) {
	f.Kind = storeapi.FilterKind(m.byte() % 3)
	for range m.byte() % 3 {
		f.Tags = append(f.Tags, [...]string{"a", "b", ""}[m.byte()%3])
	}
	return f
}

func (m *maker) payload() []byte {
	if m.byte()%8 == 7 {
		return m.b[:min(len(m.b), 80)]
	}
	h := message.Head{
		Topic: ident.Topic(m.id()), Queue: ident.Queue(m.id()), Proxy: m.number(), Seq: m.number(), IDHash: m.number(),
		BornMS: int64(m.number()), TagHash: uint32(m.number()), GroupHash: m.number(),
	}
	for range m.byte() % 3 {
		h.KeyHashes = append(h.KeyHashes, uint32(m.number()))
	}
	size := [...]int{0, 10, 20_000, 1 << 16, 1 << 17}[m.byte()%5]
	return message.Append(nil, &h, []byte{3<<3 | 2, 1, 'x'}, make([]byte, size))
}

func (m *maker) delivery() storeapi.Delivery {
	if m.last != nil && m.byte()%4 > 0 {
		return named(m.last, int(m.byte())%len(m.last.Messages))
	}
	return storeapi.Delivery{
		Group: ident.Group(m.id()), Topic: ident.Topic(m.id()), Generation: ident.Generation(m.number()),
		Queue: ident.Queue(m.id()), Offset: ident.Offset(m.number()), Term: ident.Term(m.id()), Grant: ident.LSN(m.number()),
	}
}

func (m *maker) settle() *storeapi.Settle {
	r := &storeapi.Settle{}
	for range m.byte() % 8 {
		r.Items = append(r.Items, storeapi.SettleItem{
			Delivery: m.delivery(), Verdict: storeapi.Verdict(m.byte() % 5), NoCount: m.byte()%2 > 0, MS: int64(m.number()),
		})
	}
	return r
}

func (m *maker) alive() *storeapi.Alive {
	r := &storeapi.Alive{}
	for range m.byte() % 4 {
		r.Signs = append(r.Signs, storeapi.ClientSign{
			Client: m.text(), Group: ident.Group(m.id()), Terminated: m.byte()%2 > 0, Unknown: m.byte()%2 > 0,
			Subscriptions: []storeapi.Subscription{{Topic: ident.Topic(m.id()), Filter: m.filter()}},
		})
	}
	return r
}

func (m *maker) request() storeapi.Request {
	topic, group := ident.Topic(m.id()), ident.Group(m.id())
	switch m.byte() % 10 {
	case 0, 1:
		r := &storeapi.Append{Topic: topic}
		for range m.byte() % 4 {
			r.Payloads = append(r.Payloads, m.payload())
		}
		return r
	case 2, 3, 4:
		return &storeapi.Take{
			Group: group, Topic: topic, Filter: m.filter(), Max: int(m.number()), BytesMax: int(m.number()),
			InvisibleMS: int64(m.number()), AutoRenew: m.byte()%2 > 0, Client: m.text(), AttemptHash: m.number(),
			RegrantOnly: m.byte()%8 > 6, Ticket: m.number(),
		}
	case 5, 6:
		return m.settle()
	case 7:
		return m.alive()
	case 8:
		m.parks++
		return &storeapi.Park{ID: m.parks, Group: group, Topic: topic, Filter: m.filter(), Client: m.text()}
	default:
		return &storeapi.Query{Topic: topic, Key: m.text(), FromMS: int64(m.number()), ToMS: int64(m.number()), After: ident.LSN(m.number()), Max: int(m.byte())}
	}
}

func (m *maker) op() *storeapi.Op {
	op := &storeapi.Op{Shard: 1, TopicRevision: m.revision(), GroupRevision: m.revision(), Request: m.request()}
	for range m.byte() % 3 {
		id := m.id()
		c := storeapi.Config{Kind: m.byte() % 7, ID: id, Revision: int64(m.number())}
		switch m.byte() % 5 {
		case 0:
			c.Bytes = []byte{0xff}
		case 1:
			c.Bytes, _ = proto.Marshal(&controlv1.Topic{Id: id, Name: m.text()})
		case 2:
			c.Bytes, _ = proto.Marshal(&controlv1.Group{Id: id, Name: m.text(), ConsumeFrom: controlv1.ConsumeFrom(m.byte() % 4)})
		case 3:
			c.Bytes, _ = proto.Marshal(&controlv1.Start{
				Group: id, Topic: m.id(), From: controlv1.ConsumeFrom(m.byte() % 4), SinceMs: int64(m.number()), Revision: int64(m.number()),
			})
		}
		op.Attached = append(op.Attached, c)
	}
	return op
}

// FuzzOps: whatever operations come, the shard goes on to lead, and comes back
// after a restart.
func FuzzOps(f *testing.F) {
	f.Add([]byte{})
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 1_500)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := begin(t, disk.NewMemory(), 0)
		l.send(0, 4)
		m := &maker{b: b}
		for range 64 {
			if len(m.b) == 0 {
				break
			}
			l.perform(m)
			if st := l.shard.Status(); st.Role != replica.Leader {
				t.Fatalf("%v: %s", st.Role, st.Failure)
			}
		}
		l = l.again()
		l.do(&storeapi.Offsets{Topic: topicID, Group: groupID})
		l.stop()
	})
}

func (l *life) perform(m *maker) {
	l.offset.Add(int64(m.byte()) * 100)
	op := m.op()
	done := make(chan storeapi.Reply, 1)
	op.Done = func(r storeapi.Reply) { done <- r }
	l.shard.Submit([]*storeapi.Op{op})
	if _, waits := op.Request.(*storeapi.Park); waits {
		return
	}
	select {
	case r := <-done:
		if got, ok := r.Result.(*storeapi.TakeResult); ok && len(got.Messages) > 0 {
			m.last = got
		}
	case <-time.After(20 * time.Second):
		l.t.Fatalf("%T is never answered: %v", op.Request, l.shard.Status().Role)
	}
}
