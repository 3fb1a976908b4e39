// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// TestScripts runs the stories in testdata.
//
//	next per-node=N counters=SHARD/INCARNATION    what to do
//	choose known=REVISION etcd=ID                 the outcome of an election
//	order                                         of shards for new queues
//	place id=N queues=N [on=s1,s2]                shards of new queues
//	spread id=N first=N on=s1,s2 [letters]        shards on which a topic grows
//
// Their input has one line for each shard, node or answer:
//
//	s1 term=3 leader=n1/4@7 in=n1/4,n2/5 min=1    shard 1; no leader = electing
//	n1@7 s1/4:LEADER:3 s2/5:FAILED:3:disk         node 1, instance 7, and its replicas: state and term
//	n1/4: instance=7 term=3 end=100 now=5 ...     an answer to Fence, or `silent`; life=8: the session is another's
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w := &script{t: t, d: d}
			for line := range strings.Lines(d.Input) {
				w.read(strings.Fields(line))
			}
			switch d.Cmd {
			case "next":
				return w.next()
			case "choose":
				return w.choose()
			case "order":
				return names(Order(w.shards))
			case "place":
				return names(Place(Order(w.shards), w.topic(), w.number("queues")))
			case "spread":
				return names(Spread(Order(w.shards), w.topic()))
			default:
				t.Fatalf("unknown command %s", d.Cmd)
				return ""
			}
		})
	})
}

// script is one command with what its lines say.
type script struct {
	t       *testing.T
	d       *datadriven.TestData
	shards  []*controlv1.Shard
	nodes   []Node
	answers []Answer
}

func (w *script) read(words []string) {
	switch {
	case len(words) == 0:
	case strings.HasSuffix(words[0], ":"):
		w.answers = append(w.answers, w.answer(strings.TrimSuffix(words[0], ":"), words[1:]))
	case words[0][0] == 's':
		w.shards = append(w.shards, w.shard(words))
	default:
		w.nodes = append(w.nodes, w.node(words))
	}
}

func (w *script) shard(words []string) *controlv1.Shard {
	s := &controlv1.Shard{Id: uint32(w.parse(words[0][1:])), Phase: controlv1.Phase_PHASE_ELECTING, MinInSync: 1}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "term":
			s.Term = w.parse(value)
		case "min":
			s.MinInSync = uint32(w.parse(value))
		case "leader":
			member, instance, _ := strings.Cut(value, "@")
			s.Leader, s.LeaderInstance, s.Phase = w.member(member), w.parse(instance), controlv1.Phase_PHASE_STEADY
		case "in":
			for member := range strings.SplitSeq(value, ",") {
				s.InSync = append(s.InSync, w.member(member))
			}
			s.Replicas = s.InSync
		default:
			w.t.Fatalf("unknown word %s", word)
		}
	}
	return s
}

func (w *script) member(text string) *controlv1.ReplicaID {
	node, incarnation, _ := strings.Cut(strings.TrimPrefix(text, "n"), "/")
	return &controlv1.ReplicaID{Node: w.parse(node), Incarnation: w.parse(incarnation)}
}

func (w *script) node(words []string) Node {
	id, instance, _ := strings.Cut(strings.TrimPrefix(words[0], "n"), "@")
	n := Node{ID: ident.Node(w.parse(id)), Instance: w.parse(instance)}
	for _, word := range words[1:] {
		parts := append(strings.SplitN(word, ":", 4), "")
		shard, incarnation, _ := strings.Cut(strings.TrimPrefix(parts[0], "s"), "/")
		r := Replica{Shard: ident.Shard(w.parse(shard)), Incarnation: w.parse(incarnation), State: parts[1], Term: ident.Term(w.parse(parts[2]))}
		r.Failure = parts[3]
		n.Replicas = append(n.Replicas, r)
	}
	return n
}

func (w *script) answer(member string, words []string) Answer {
	a := Answer{Member: w.member(member), Response: &replicav1.FenceResponse{Seen: &replicav1.Seen{}}}
	r := a.Response
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "silent":
			a.Response, a.Failure = nil, "no route"
		case "absent":
			r.Absent = true
		case "lossy":
			r.Lossy = true
		case "refusal":
			r.Refusal = value
		case "instance":
			r.Instance, a.Life = w.parse(value), w.parse(value)
		case "life":
			a.Life = w.parse(value)
		case "term":
			r.LastTerm = w.parse(value)
		case "end":
			r.End = w.parse(value)
		case "now":
			r.NowMs = int64(w.parse(value))
		case "current":
			r.CurrentTerm = w.parse(value)
		case "seen-term":
			r.Seen.Term = w.parse(value)
		case "seen-revision":
			r.Seen.ModRevision = int64(w.parse(value))
		case "seen-etcd":
			r.Seen.EtcdClusterId = w.parse(value)
		default:
			w.t.Fatalf("unknown word %s", word)
		}
	}
	return a
}

func (w *script) next() string {
	state := State{Shards: w.shards, Nodes: w.nodes, ShardsPerNode: w.number("per-node")}
	var counters string
	w.d.ScanArgs(w.t, "counters", &counters)
	shard, incarnation, _ := strings.Cut(counters, "/")
	state.LastShard, state.LastIncarnation = ident.Shard(w.parse(shard)), w.parse(incarnation)
	text := ""
	for _, action := range Next(state) {
		text += action.String() + "\n"
	}
	return orNothing(text)
}

func (w *script) choose() string {
	known := Metadata{Revision: int64(w.number("known")), EtcdClusterID: uint64(w.number("etcd"))}
	shard := w.shards[0]
	v := Choose(shard, w.answers, known)
	text := fmt.Sprintf("W=%d R=%d\n", WriteQuorum(shard), FenceQuorum(shard))
	if v.Leader != nil {
		return text + fmt.Sprintf("n%d/%d@%d leads, clock %d\n", v.Leader.GetNode(), v.Leader.GetIncarnation(), v.Instance, v.ClockMS)
	}
	return text + fmt.Sprintf("nobody (hopeless %v): %s\n", v.Hopeless, v.Reason)
}

func (w *script) topic() *controlv1.Topic {
	topic := &controlv1.Topic{Id: uint64(w.number("id"))}
	if w.d.HasArg("on") {
		arg, _ := w.d.Arg("on")
		for _, shard := range arg.Vals {
			topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: uint32(w.parse(strings.TrimPrefix(shard, "s")))})
		}
	}
	if w.d.HasArg("first") {
		topic.FifoQueues = uint32(w.number("first"))
	}
	if w.d.HasArg("letters") {
		topic.DeadLettersOf = 1
	}
	return topic
}

func (w *script) number(name string) (n int) {
	w.d.ScanArgs(w.t, name, &n)
	return n
}

func (w *script) parse(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func names(shards []ident.Shard) string {
	text := ""
	for _, s := range shards {
		text += fmt.Sprintf("s%d ", s)
	}
	return orNothing(strings.TrimSpace(text))
}

func orNothing(text string) string {
	if text == "" {
		text = "nothing"
	}
	return strings.TrimSuffix(text, "\n") + "\n"
}

// Whatever the shards and the topic, new queues level the topic's queues out, and as many are placed as asked.
func TestPlaceLevels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) ident.Shard {
			return ident.Shard(rapid.Uint32Range(1, 100).Draw(t, "shard"))
		}), 1, 20, rapid.ID).Draw(t, "order")
		topic := &controlv1.Topic{Id: rapid.Uint64().Draw(t, "id")}
		for range rapid.IntRange(0, 30).Draw(t, "queues") {
			topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: uint32(rapid.SampledFrom(order).Draw(t, "on"))})
		}
		n := rapid.IntRange(0, 50).Draw(t, "n")
		count := make(map[ident.Shard]int)
		for _, q := range topic.GetQueues() {
			count[ident.Shard(q.GetShard())]++
		}
		placed := Place(order, topic, n)
		for _, shard := range placed {
			least := count[order[0]]
			for _, other := range order {
				least = min(least, count[other])
			}
			if count[shard] != least {
				t.Fatalf("a queue on s%d, which has %d, while another has %d", shard, count[shard], least)
			}
			count[shard]++
		}
		if len(placed) != n {
			t.Fatalf("%d placed of %d", len(placed), n)
		}
	})
}

// Growing in any steps ends with every topic spread as one that was made at the end, and never moves a queue.
func TestSpreadConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := &controlv1.Topic{Id: rapid.Uint64().Draw(t, "id")}
		if rapid.Bool().Draw(t, "letters") {
			topic.DeadLettersOf = 1
		}
		var shards []*controlv1.Shard
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			for range rapid.IntRange(1, 5).Draw(t, "new") {
				id := uint32(len(shards) + 1)
				shards = append(shards, &controlv1.Shard{Id: id, Leader: &controlv1.ReplicaID{Node: uint64(id % 3)}})
			}
			order := Order(shards)
			if step == 0 {
				for _, shard := range Place(order, topic, rapid.IntRange(1, 12).Draw(t, "queues")) {
					topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: uint32(shard)})
				}
				topic.FifoQueues = uint32(len(topic.GetQueues()))
			}
			for _, shard := range Spread(order, topic) {
				topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: uint32(shard)})
			}
			if again := Spread(order, topic); len(again) > 0 {
				t.Fatalf("more after all was spread: %v", again)
			}
			on := make(map[uint32]bool)
			for _, q := range topic.GetQueues() {
				on[q.GetShard()] = true
			}
			want := min(len(shards), SpreadMin, int(topic.GetFifoQueues()))
			if topic.GetDeadLettersOf() != 0 {
				want = len(shards)
			}
			if len(on) < want {
				t.Fatalf("on %d shards, want %d", len(on), want)
			}
		}
	})
}

// A plan has no memory and no order: the same state, however it is written down, gives the same plan.
func TestNextIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := State{ShardsPerNode: 2, LastShard: 10, LastIncarnation: 10}
		for id := range rapid.Uint32Range(1, 6).Draw(t, "shards") {
			member := &controlv1.ReplicaID{Node: rapid.Uint64Range(1, 3).Draw(t, "node"), Incarnation: uint64(id + 1)}
			s := &controlv1.Shard{Id: id + 1, InSync: []*controlv1.ReplicaID{member}, Replicas: []*controlv1.ReplicaID{member}, MinInSync: 1}
			if rapid.Bool().Draw(t, "led") {
				s.Phase, s.Leader, s.LeaderInstance = controlv1.Phase_PHASE_STEADY, member, rapid.Uint64Range(1, 2).Draw(t, "instance")
			}
			state.Shards = append(state.Shards, s)
		}
		for id := range rapid.Uint64Range(1, 3).Draw(t, "nodes") {
			state.Nodes = append(state.Nodes, Node{ID: ident.Node(id + 1), Instance: 1})
		}
		other := state
		other.Shards = rapid.Permutation(state.Shards).Draw(t, "shards in another order")
		other.Nodes = rapid.Permutation(state.Nodes).Draw(t, "nodes in another order")
		if a, b := Next(state), Next(other); !slices.Equal(a, b) {
			t.Fatalf("%v\n%v", a, b)
		}
	})
}
