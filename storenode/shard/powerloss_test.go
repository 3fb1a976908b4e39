// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
)

// lifetimes is how many seeds run by default; MANSIO_SEEDS asks for another
// number.
const lifetimes = 1_000

// TestPowerLoss lets a shard live with sends, receives, settlements, seals and
// checkpoints, takes the power away at a random call of the disk, and looks
// whether every answer that was given still holds on what the disk kept.
func TestPowerLoss(t *testing.T) {
	n := lifetimes
	if text := os.Getenv("MANSIO_SEEDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		n = min(n, 100)
	}
	for seed := range n {
		if !t.Run(strconv.Itoa(seed), func(t *testing.T) { newOutage(t, uint64(seed)).run() }) {
			return
		}
	}
}

// belief is what a client was told of one message.
type belief struct {
	id       string
	delivery storeapi.Delivery
	attempt  int32 // of the newest delivery that was answered, 0: none
	dueMS    int64
	leaseMS  int64 // what the grant said
	acked    bool
	vague    bool // something about it was not answered before the power went
}

type outage struct {
	t     *testing.T
	rng   *rand.Rand
	life  *life
	msgs  map[string]*belief
	order []string
	seq   uint64

	mu    sync.Mutex
	clone *disk.Memory // guarded; set when the power goes
	at    int          // guarded; calls of the disk until then
}

func newOutage(t *testing.T, seed uint64) *outage {
	return &outage{t: t, rng: rand.New(rand.NewPCG(seed, 24)), msgs: map[string]*belief{}}
}

func (o *outage) run() {
	d := disk.NewMemory()
	o.life = begin(o.t, d, 0)
	crash := rand.New(rand.NewPCG(o.rng.Uint64(), 1))
	o.at = 1 + o.rng.IntN(150)
	d.Hook(func(c disk.Call) error {
		if c.Op != disk.OpWrite && c.Op != disk.OpSync && c.Op != disk.OpSyncDir && c.Op != disk.OpRename {
			return nil
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.at--
		if o.at == 0 {
			o.clone = d.Crash(crash)
		}
		return nil
	})
	for range 60 {
		if o.dark() {
			break
		}
		o.step()
	}
	d.Hook(nil)
	o.mu.Lock()
	if o.clone == nil {
		o.clone = d.Crash(crash)
	}
	o.mu.Unlock()
	offset := o.life.offset.Load()
	o.life.stop()
	o.life = begin(o.t, o.clone, offset)
	defer o.life.stop()
	o.check()
}

func (o *outage) dark() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clone != nil
}

// ask submits an operation and answers its reply and whether that was given
// before the power went.
func (o *outage) ask(r storeapi.Request) func() (storeapi.Reply, bool) {
	type answer struct {
		reply storeapi.Reply
		given bool
	}
	done := make(chan answer, 1)
	o.life.shard.Submit([]*storeapi.Op{{
		Shard: 1, TopicRevision: 1, GroupRevision: 1, Request: r,
		Done: func(r storeapi.Reply) { done <- answer{r, !o.dark()} },
	}})
	return func() (storeapi.Reply, bool) {
		a := <-done
		return a.reply, a.given
	}
}

func (o *outage) step() {
	switch k := o.rng.IntN(10); {
	case k < 4:
		o.send(1 + o.rng.IntN(4))
	case k < 6:
		o.take()
	case k < 9:
		o.settle()
	default:
		o.life.offset.Add(int64(o.rng.IntN(2 * hourMS)))
	}
}

// send has several sends under way at once, so that they share rounds.
func (o *outage) send(n int) {
	var wait []func() (storeapi.Reply, bool)
	var sent []*belief
	for range n {
		o.seq++
		b := &belief{id: fmt.Sprintf("m%d", o.seq)}
		p := payload(ident.Queue(o.rng.IntN(2)), b.id, "", o.seq)
		p = append(p, make([]byte, o.rng.IntN(20_000))...)
		sent = append(sent, b)
		wait = append(wait, o.ask(&storeapi.Append{Topic: topicID, Payloads: [][]byte{p}}))
	}
	for i, w := range wait {
		r, given := w()
		if r.Code != storeapi.OK {
			o.t.Fatalf("send: %+v", r)
		}
		sent[i].vague = !given
		o.msgs[sent[i].id] = sent[i]
		o.order = append(o.order, sent[i].id)
	}
}

func (o *outage) take() {
	r, given := o.ask(&storeapi.Take{Group: groupID, Topic: topicID, Max: 1 + o.rng.IntN(5), InvisibleMS: hourMS, Client: "c"})()
	if r.Code == storeapi.None {
		return
	}
	got := r.Result.(*storeapi.TakeResult)
	for i := range got.Messages {
		m := &got.Messages[i]
		b := o.msgs[idOf(m)]
		if !given {
			b.vague = true
			continue
		}
		b.delivery, b.attempt, b.dueMS, b.leaseMS = named(got, i), m.Attempt, got.DueMS, got.DueMS
	}
}

func (o *outage) settle() {
	if len(o.order) == 0 {
		return
	}
	b := o.msgs[o.order[o.rng.IntN(len(o.order))]]
	if b.attempt == 0 || b.acked || b.vague {
		return
	}
	verdict := storeapi.Ack
	if o.rng.IntN(3) == 0 {
		verdict = storeapi.Extend
	}
	r, given := o.ask(&storeapi.Settle{Items: []storeapi.SettleItem{{Delivery: b.delivery, Verdict: verdict, MS: 4 * hourMS}}})()
	code := r.Result.(*storeapi.SettleResult).Codes[0]
	switch {
	case !given:
		b.vague = true
	case code == storeapi.OK && verdict == storeapi.Ack:
		b.acked = true
	case code == storeapi.OK:
		b.dueMS = b.leaseMS + 3*hourMS // at least: the lease was for one hour, from an earlier time
	}
}

// check compares what clients were told with what comes out now.
func (o *outage) check() {
	now := 1_000*int64(hourMS) + o.life.offset.Load()
	seen := o.drain()
	for _, id := range o.order {
		b := o.msgs[id]
		m, out := seen[id]
		switch {
		case b.vague:
		case b.acked && out:
			o.t.Errorf("%s came back though its ack was answered", id)
		case b.acked:
		case out && b.dueMS > now:
			o.t.Errorf("%s came back %d ms before its due", id, b.dueMS-now)
		case out && m.Attempt != b.attempt+1:
			o.t.Errorf("%s came with attempt %d, the one before was %d", id, m.Attempt, b.attempt)
		}
	}
	o.life.offset.Add(24 * hourMS)
	maps.Copy(seen, o.drain())
	for _, id := range o.order {
		b := o.msgs[id]
		if _, out := seen[id]; !out && !b.acked && !b.vague && b.attempt < attempts {
			o.t.Errorf("%s is lost: %+v", id, b)
		}
	}
}

// drain takes all that can be taken now.
func (o *outage) drain() map[string]storeapi.Taken {
	out := map[string]storeapi.Taken{}
	for {
		got := o.life.take(32, hourMS)
		if len(got.Messages) == 0 {
			return out
		}
		for _, m := range got.Messages {
			out[idOf(&m)] = m
		}
	}
}
