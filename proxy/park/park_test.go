// SPDX-License-Identifier: Apache-2.0

package park

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/proxy/fakestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topicID = 7
	groupID = 9
)

// fixture is a lot in front of a store; all of it lives in a bubble.
type fixture struct {
	*Lot
	t    *testing.T
	node *fakestore.Node
	seq  uint64
}

func bubble(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, node: fakestore.New()}
		f.Lot = New(Options{Now: time.Now, Start: f.start})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		test(f)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for shard := range ident.Shard(4) {
			if n := f.node.Parked(shard); n != 0 {
				t.Errorf("%d Parks left behind on shard %d", n, shard)
			}
		}
		f.node.Close()
	})
}

func (f *fixture) start(shard ident.Shard, _ *Spot, r storeapi.Request, done func(storeapi.Reply)) {
	f.node.Submit([]*storeapi.Op{{Shard: shard, Request: r, Done: done}})
}

func (f *fixture) send(shard ident.Shard) {
	f.seq++
	p := message.Append(nil, &message.Head{Topic: topicID}, nil, nil)
	p.SetSource(1, f.seq)
	f.node.Submit([]*storeapi.Op{{
		Shard: shard, Request: &storeapi.Append{Topic: topicID, Payloads: [][]byte{p}}, Done: func(storeapi.Reply) {},
	}})
}

func spot(shards ...ident.Shard) *Spot {
	return &Spot{Key: Key{Group: groupID, Topic: topicID}, Shards: shards, Client: "c"}
}

// take does what a receive does with its turn.
func (f *fixture) take(t Turn) (n int) {
	f.node.Submit([]*storeapi.Op{{
		Shard:   t.Shard,
		Request: &storeapi.Take{Group: groupID, Topic: topicID, Max: 1, InvisibleMS: 600_000, Ticket: t.Ticket},
		Done: func(r storeapi.Reply) {
			if r.Code == storeapi.OK {
				n = len(r.Result.(*storeapi.TakeResult).Messages)
			}
		},
	}})
	f.Done(t, n > 0)
	return n
}

// receive waits and takes until it has something or its time is over.
func (f *fixture) receive(ctx context.Context, s *Spot, until time.Time) storeapi.Code {
	for {
		turn, code := f.Wait(ctx, s, until)
		if code != storeapi.Ready {
			return code
		}
		if f.take(turn) > 0 {
			return storeapi.OK
		}
	}
}

func in(d time.Duration) time.Time { return time.Now().Add(d) }

func TestTimeIsOver(t *testing.T) {
	bubble(t, func(f *fixture) {
		start := time.Now()
		if code := f.receive(f.t.Context(), spot(1, 2), in(20*time.Second)); code != storeapi.None {
			t.Errorf("%v, want none", code)
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("waited %v", took)
		}
		if code := f.receive(f.t.Context(), spot(1), time.Now()); code != storeapi.None {
			t.Errorf("no time at all: %v, want none", code)
		}
	})
}

func TestWakesAtOnce(t *testing.T) {
	bubble(t, func(f *fixture) {
		time.AfterFunc(3*time.Second, func() { f.send(2) })
		start := time.Now()
		if code := f.receive(f.t.Context(), spot(1, 2, 3), in(20*time.Second)); code != storeapi.OK {
			t.Errorf("%v, want ok", code)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("woke after %v", took)
		}
	})
}

// TestOnePark says that many receives cost one Park per shard, that each message
// wakes one of them, and that they are served in the order of their coming.
func TestOnePark(t *testing.T) {
	bubble(t, func(f *fixture) {
		const receives = 50
		var order []int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range receives {
			all.Go(func() {
				if code := f.receive(f.t.Context(), spot(1, 2), in(time.Minute)); code != storeapi.OK {
					t.Errorf("receive %d: %v", i, code)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		if f.node.Parked(1) != 1 || f.node.Parked(2) != 1 || f.Waiting() != receives {
			t.Errorf("%d and %d Parks for %d receives", f.node.Parked(1), f.node.Parked(2), f.Waiting())
		}
		for i := range receives {
			f.node.Requests()
			f.send(ident.Shard(1 + i%2))
			synctest.Wait()
			takes := 0
			for _, r := range f.node.Requests() {
				if _, ok := r.(*storeapi.Take); ok {
					takes++
				}
			}
			if takes != 1 {
				t.Errorf("one message caused %d takes", takes)
			}
		}
		all.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

// TestBacklog says that a shard with more than one message serves all who wait.
func TestBacklog(t *testing.T) {
	bubble(t, func(f *fixture) {
		for range 10 {
			f.send(1)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if code := f.receive(f.t.Context(), spot(1), in(time.Minute)); code != storeapi.OK {
					t.Errorf("%v", code)
				}
			})
		}
		start := time.Now()
		all.Wait()
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("a backlog was handed out in %v", took)
		}
	})
}

// TestLinger says that Parks outlive their receive for a while, and then go.
func TestLinger(t *testing.T) {
	bubble(t, func(f *fixture) {
		s := spot(1, 2)
		if f.View(s.Key, 1) != Unseen {
			t.Error("parked before anybody came")
		}
		f.receive(f.t.Context(), s, in(time.Second))
		if f.View(s.Key, 1) != Empty || f.View(s.Key, 2) != Empty {
			t.Error("the Parks ended with their receive")
		}
		f.node.Requests()
		f.receive(f.t.Context(), s, in(time.Second))
		for _, r := range f.node.Requests() {
			t.Errorf("the next receive caused a %T", r)
		}
		timer := time.NewTimer(lingerTime + time.Second)
		<-timer.C
		synctest.Wait()
		if f.View(s.Key, 1) != Unseen || f.node.Parked(1) != 0 || len(f.mu.places) != 0 || len(f.mu.alarms) != 0 {
			t.Errorf("left behind: %d Parks, %d places, %d alarms", f.node.Parked(1), len(f.mu.places), len(f.mu.alarms))
		}
	})
}

// TestNobodyWaits says that a Ready for which nobody waits is declined at once,
// so that the receives of another proxy get it.
func TestNobodyWaits(t *testing.T) {
	bubble(t, func(f *fixture) {
		s := spot(1)
		f.receive(f.t.Context(), s, in(time.Second))
		f.send(1)
		synctest.Wait()
		declined := false
		for _, r := range f.node.Requests() {
			_, is := r.(*storeapi.Decline)
			declined = declined || is
		}
		if !declined || f.View(s.Key, 1) != Unseen {
			t.Errorf("declined %v, view %v", declined, f.View(s.Key, 1))
		}
		if code := f.receive(f.t.Context(), s, in(time.Second)); code != storeapi.OK {
			t.Errorf("the next receive: %v", code)
		}
	})
}

func TestCallerGoes(t *testing.T) {
	bubble(t, func(f *fixture) {
		ctx, cancel := context.WithCancel(f.t.Context())
		time.AfterFunc(time.Second, cancel)
		if code := f.receive(ctx, spot(1), in(20*time.Second)); code != storeapi.Canceled {
			t.Errorf("%v, want canceled", code)
		}
		if f.Waiting() != 0 {
			t.Errorf("%d still wait", f.Waiting())
		}
	})
}

// TestCallerGoesWithItsTurn says that a turn that comes to a receive whose caller
// is just leaving goes on to the next.
func TestCallerGoesWithItsTurn(t *testing.T) {
	bubble(t, func(f *fixture) {
		ctx, cancel := context.WithCancel(f.t.Context())
		codes := make(chan storeapi.Code, 2)
		go func() { codes <- f.receive(ctx, spot(1), in(time.Minute)) }()
		synctest.Wait()
		go func() { codes <- f.receive(f.t.Context(), spot(1), in(time.Minute)) }()
		synctest.Wait()
		// Both at one moment: whichever the receive sees first, nothing is lost.
		f.send(1)
		cancel()
		synctest.Wait()
		first := <-codes
		f.send(1)
		second := <-codes
		got := map[storeapi.Code]int{first: 1}
		got[second]++
		if got[storeapi.OK] < 1 || got[storeapi.OK]+got[storeapi.Canceled] != 2 {
			t.Errorf("%v and %v", first, second)
		}
	})
}

// TestParkFails says that a broken Park is tried again, and that what cannot heal
// ends the waiting.
func TestParkFails(t *testing.T) {
	for _, code := range []storeapi.Code{storeapi.NotLeader, storeapi.Unavailable, storeapi.Unknown, storeapi.Overloaded} {
		bubble(t, func(f *fixture) {
			time.AfterFunc(time.Second, func() { f.node.DropParks(code) })
			time.AfterFunc(3*time.Second, func() { f.send(1) })
			start := time.Now()
			if got := f.receive(f.t.Context(), spot(1), in(20*time.Second)); got != storeapi.OK {
				t.Errorf("%v: %v", code, got)
			}
			if took := time.Since(start); took > 3*time.Second+retryMax {
				t.Errorf("%v: woke after %v", code, took)
			}
			go f.receive(f.t.Context(), spot(1), in(2*time.Second))
			synctest.Wait()
			f.node.Intercept(func(op *storeapi.Op) bool { op.Done(storeapi.Reply{Code: code}); return true })
			f.node.DropParks(code)
			if view := f.View(spot(1).Key, 1); view != Away {
				t.Errorf("%v: view %v of a shard that cannot be asked", code, view)
			}
			f.node.Intercept(nil)
		})
	}
	for _, code := range []storeapi.Code{storeapi.TopicNotFound, storeapi.GroupNotFound, storeapi.NotImplemented, storeapi.Internal} {
		bubble(t, func(f *fixture) {
			time.AfterFunc(time.Second, func() { f.node.DropParks(code) })
			start := time.Now()
			if got := f.receive(f.t.Context(), spot(1), in(20*time.Second)); got != code {
				t.Errorf("%v: %v", code, got)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("%v: ended after %v", code, took)
			}
		})
	}
}

// TestRetriesArePaced says that a store that always refuses, or always calls for
// nothing, is not asked in a hot loop.
func TestRetriesArePaced(t *testing.T) {
	for name, answer := range map[string]storeapi.Reply{
		"refuses":           {Code: storeapi.Unavailable},
		"calls for nothing": {Code: storeapi.Ready, Result: &storeapi.ReadyResult{Ticket: 1}},
	} {
		bubble(t, func(f *fixture) {
			f.node.Intercept(func(op *storeapi.Op) bool {
				if _, ok := op.Request.(*storeapi.Park); ok {
					op.Done(answer)
					return true
				}
				return false
			})
			if code := f.receive(f.t.Context(), spot(1), in(20*time.Second)); code != storeapi.None {
				t.Errorf("%s: %v", name, code)
			}
			if n := len(f.node.Requests()); n > 120 {
				t.Errorf("%s: %d operations in 20 s", name, n)
			}
		})
	}
}

func TestMax(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.o.Max = 2
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { f.receive(f.t.Context(), spot(1), in(time.Second)) })
		}
		synctest.Wait()
		if code := f.receive(f.t.Context(), spot(1), in(time.Second)); code != storeapi.Overloaded {
			t.Errorf("%v, want overloaded", code)
		}
		all.Wait()
	})
}

// TestDrain says that a drain ends all receives, spread over the time, and lets
// no new one in.
func TestDrain(t *testing.T) {
	bubble(t, func(f *fixture) {
		var all sync.WaitGroup
		var late atomic.Int32
		start := time.Now()
		for range 200 {
			all.Go(func() {
				if code := f.receive(f.t.Context(), spot(1), in(time.Minute)); code != storeapi.None {
					t.Errorf("%v", code)
				}
				if time.Since(start) > 500*time.Millisecond {
					late.Add(1)
				}
			})
		}
		synctest.Wait()
		f.Drain(time.Second)
		all.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("drained in %v", took)
		}
		if n := late.Load(); n < 50 || n > 150 {
			t.Errorf("%d of 200 ended in the second half of the time", n)
		}
		if code := f.receive(f.t.Context(), spot(1), in(time.Minute)); code != storeapi.None {
			t.Errorf("a receive during the drain: %v", code)
		}
	})
}

// TestPlacesApart says that groups, topics and filters do not share a place.
func TestPlacesApart(t *testing.T) {
	bubble(t, func(f *fixture) {
		var all sync.WaitGroup
		for i, key := range []Key{{1, 1, ""}, {2, 1, ""}, {1, 2, ""}, {1, 1, "a"}} {
			all.Go(func() {
				f.receive(f.t.Context(), &Spot{Key: key, Shards: []ident.Shard{1}, Client: strconv.Itoa(i)}, in(time.Second))
			})
		}
		synctest.Wait()
		if n := f.node.Parked(1); n != 4 {
			t.Errorf("%d Parks for 4 places", n)
		}
		all.Wait()
	})
}

// TestStress lets receives come, go and be served at random; every message must
// be received.
func TestStress(t *testing.T) {
	f := &fixture{t: t, node: fakestore.New()}
	f.Lot = New(Options{Now: time.Now, Start: f.start})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = f.Run(ctx) })
	const messages = 2000
	var got atomic.Int32
	done := make(chan struct{})
	for i := range 32 {
		all.Go(func() {
			for n := 0; got.Load() < messages && ctx.Err() == nil; n++ {
				patience, hurry := context.WithTimeout(ctx, time.Duration(1+(i*7+n)%20)*time.Millisecond)
				if f.receive(patience, spot(1, 2, 3), in(10*time.Millisecond)) == storeapi.OK && got.Add(1) == messages {
					close(done)
				}
				hurry()
			}
		})
	}
	for i := range messages {
		f.send(ident.Shard(1 + i%3))
	}
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
	if n := got.Load(); n != messages {
		t.Errorf("%d of %d messages received", n, messages)
	}
	cancel()
	all.Wait()
	f.node.Close()
}
