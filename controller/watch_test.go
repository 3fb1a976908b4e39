// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// rawWatch is a watcher that reads and reports by hand.
func rawWatch(t *testing.T, w *world, name string) (grpc.BidiStreamingClient[controlv1.WatchRequest, controlv1.WatchResponse], context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := w.metadata().Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&controlv1.WatchRequest{Watcher: name}); err != nil {
		t.Fatal(err)
	}
	return stream, cancel
}

// A change is answered when every live watcher has applied it; one that does not say so within 3 s is named, and the
// change stands.
func TestLaggardsAreNamed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		_, hangUp := rawWatch(t, w, "proxy that hangs")
		pass(time.Millisecond)
		began := time.Now()
		made, err := w.admin().CreateTopic(t.Context(), create("t", nil))
		if err != nil || len(made.GetLaggards()) != 1 || made.GetLaggards()[0] != "proxy that hangs" {
			t.Errorf("%v %v", made.GetLaggards(), err)
		}
		if took := time.Since(began); took != adminWait {
			t.Errorf("took %v", took)
		}
		if table.Snapshot().TopicByName("t") == nil {
			t.Error("the change does not stand")
		}
		// Automatic creation waits less, and does not tell.
		began = time.Now()
		if _, err := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: "u"}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != ensureWait {
			t.Errorf("took %v", took)
		}
		// Deletions as well; and a watcher that is gone is not waited for.
		deleted := make(chan *controlv1.DeleteResponse, 1)
		began = time.Now()
		go func() {
			response, err := w.admin().DeleteTopic(t.Context(), &controlv1.DeleteTopicRequest{Name: "t"})
			if err != nil {
				t.Error(err)
			}
			deleted <- response
		}()
		pass(time.Second)
		hangUp()
		if response := <-deleted; len(response.GetLaggards()) != 0 || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %v", response, time.Since(began))
		}
	})
}

// A watcher that takes nothing costs a bounded queue, holds up nobody, and gets the whole state when it comes again.
func TestSlowWatcher(t *testing.T) {
	table := metadata.NewTable()
	h := newHub(table)
	table.OnApply(h.publish)
	change := func(revision int64) *controlv1.WatchResponse {
		return &controlv1.WatchResponse{
			Snapshot: revision == 1, Revision: revision, Cluster: &controlv1.Cluster{Uuid: "c"},
			Nodes: []*controlv1.Node{{Id: 1, Instance: uint64(revision), Revision: revision}},
		}
	}
	apply := func(revision int64) {
		if err := table.Apply(change(revision)); err != nil {
			t.Fatal(err)
		}
	}
	apply(1)
	slow, quick := h.join("slow", 0), h.join("quick", 0)
	for _, w := range []*watcher{slow, quick} {
		if whole, changes := h.take(w); whole.Revision() != 1 || changes != nil {
			t.Errorf("%v %v", whole, changes)
		}
	}
	revision := int64(1)
	for range queueMax + 10 {
		revision++
		apply(revision)
		if whole, changes := h.take(quick); whole != nil || len(changes) != 1 || changes[0].GetRevision() != revision {
			t.Fatalf("%v %v", whole, changes)
		}
		if len(slow.queue) > queueMax {
			t.Fatalf("%d changes wait", len(slow.queue))
		}
	}
	if whole, changes := h.take(slow); whole == nil || whole.Revision() != revision || changes != nil {
		t.Errorf("%v, %d changes", whole, len(changes))
	}
	apply(revision + 1)
	if whole, changes := h.take(slow); whole != nil || len(changes) != 1 || changes[0].GetRevision() != revision+1 {
		t.Errorf("%v %v", whole, changes)
	}
	// One step that is too large for a message goes out as the whole state, too.
	large := &controlv1.WatchResponse{Revision: revision + 2}
	for i := range deltaObjectsMax + 1 {
		large.Nodes = append(large.Nodes, &controlv1.Node{Id: uint64(i + 1), Revision: revision + 2})
	}
	if err := table.Apply(large); err != nil {
		t.Fatal(err)
	}
	if whole, _ := h.take(quick); whole == nil || whole.Counts().Nodes != deltaObjectsMax+1 {
		t.Errorf("%v", whole)
	}
	// A step that shows nothing, like a counter's, tells nobody.
	if err := table.Apply(&controlv1.WatchResponse{Revision: revision + 3}); err != nil {
		t.Fatal(err)
	}
	if whole, changes := h.take(quick); whole != nil || changes != nil {
		t.Errorf("%v %v", whole, changes)
	}
}

// A state of many megabytes travels in parts of bounded size.
func TestLargeState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		state := &controlv1.WatchResponse{Snapshot: true, Revision: 9, Cluster: &controlv1.Cluster{Uuid: "c"}}
		for i := range 15_000 {
			state.Topics = append(state.Topics, &controlv1.Topic{Id: uint64(i + 1), Name: fmt.Sprintf("topic-%030d", i), Queues: make8(), Revision: 9})
			state.Starts = append(state.Starts, &controlv1.Start{Group: 1, Topic: uint64(i + 1), Revision: 9})
		}
		state.Groups = []*controlv1.Group{{Id: 1, Name: "g", Revision: 9}}
		from, to := metadata.NewTable(), metadata.NewTable()
		if err := from.Apply(state); err != nil {
			t.Fatal(err)
		}
		var parts []*controlv1.WatchResponse
		err := sendWhole(from.Snapshot(), func(m *controlv1.WatchResponse) error {
			parts = append(parts, m)
			return nil
		})
		if err != nil || len(parts) < 2 {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
		for i, part := range parts {
			if !part.GetSnapshot() || part.GetMore() != (i < len(parts)-1) {
				t.Errorf("part %d of %d: snapshot %v, more %v", i, len(parts), part.GetSnapshot(), part.GetMore())
			}
		}
		if err := to.Apply(parts...); err != nil || to.Snapshot().Counts() != from.Snapshot().Counts() {
			t.Errorf("%v, %v of %v", err, to.Snapshot().Counts(), from.Snapshot().Counts())
		}
	})
}

func make8() []*controlv1.Queue {
	queues := make([]*controlv1.Queue, 8)
	for i := range queues {
		queues[i] = &controlv1.Queue{Shard: uint32(i), CreatedRevision: 9}
	}
	return queues
}

// Watches of etcd break, lag behind a compaction, or lose events: watchers see everything all the same.
func TestMirrorSurvives(t *testing.T) {
	put := func(t *testing.T, w *world, name string) {
		t.Helper()
		book := w.c.current.Load().book
		draft := &metastore.Draft{}
		draft.Put(book.Keys.Topic(name), &controlv1.Topic{Id: uint64(len(name)), Name: name})
		if _, err := book.Commit(t.Context(), draft); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		deliver func(metastore.Batch) (bool, error)
		compact bool
		within  time.Duration
	}{
		"a watch that breaks":       {func(metastore.Batch) (bool, error) { return false, errors.New("connection lost") }, false, 5 * time.Second},
		"a history that is gone":    {func(metastore.Batch) (bool, error) { return false, errors.New("connection lost") }, true, 5 * time.Second},
		"a watch that loses events": {func(metastore.Batch) (bool, error) { return false, nil }, false, resyncEvery + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				store := newFaultyStore()
				w, table := ready(t, func(c *Config) { c.Store = store })
				store.set(func(s *faultyStore) { s.deliver = c.deliver })
				put(t, w, "t")
				put(t, w, "tt")
				pass(time.Second)
				if c.compact {
					listing, err := store.List(t.Context(), metastore.ListRequest{})
					if err == nil {
						err = store.Compact(t.Context(), listing.Revision)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				store.set(func(s *faultyStore) { s.deliver = nil })
				pass(c.within)
				if s := table.Snapshot(); s.TopicByName("t") == nil || s.TopicByName("tt") == nil {
					t.Errorf("%v", s.Counts())
				}
				// And it goes on.
				put(t, w, "ttt")
				await(t, table, "the next change", func(s *metadata.Snapshot) bool { return s.TopicByName("ttt") != nil })
			})
		})
	}
}

func TestWatcherNeedsAName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, name := range []string{"", strings.Repeat("x", watcherNameMax+1)} {
			stream, hangUp := rawWatch(t, w, name)
			if _, err := stream.Recv(); !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			hangUp()
		}
	})
}

// When the controller is gone tables stay as they are, and catch up when it is back.
func TestControllerRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		if _, err := w.admin().CreateTopic(t.Context(), create("t", nil)); err != nil {
			t.Fatal(err)
		}
		w.stopAt()
		pass(10 * time.Minute)
		s := table.Snapshot()
		if s.TopicByName("t") == nil || !allLed(2)(s) {
			t.Error("what was known is gone")
		}
		terms := s.Shard(1).GetTerm()
		w.start(nil)
		began := time.Now()
		if _, err := w.admin().CreateTopic(t.Context(), create("u", nil), grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		s = await(t, table, "the new topic", func(s *metadata.Snapshot) bool { return s.TopicByName("u") != nil })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		pass(10 * time.Second)
		// The node never stopped leading, so nothing was elected.
		if now := table.Snapshot().Shard(1).GetTerm(); now != terms || s.Counts().Shards != 2 {
			t.Errorf("term %d, then %d", terms, now)
		}
	})
}
