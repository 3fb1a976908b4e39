// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newKeys(t *testing.T) Keys {
	t.Helper()
	keys, err := NewKeys("test")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeys(t *testing.T) {
	keys := newKeys(t)
	for got, want := range map[string]string{
		keys.All():          "/mansio/test/v1/",
		keys.Cluster():      "/mansio/test/v1/cluster",
		keys.Ids():          "/mansio/test/v1/ids",
		keys.Topic("a%b|c"): "/mansio/test/v1/topics/a%b|c",
		keys.Group("g"):     "/mansio/test/v1/groups/g",
		keys.Start(7, 255):  "/mansio/test/v1/starts/0000000000000007/00000000000000ff",
		keys.Shard(12):      "/mansio/test/v1/shards/0000000012",
		keys.Node("n1"):     "/mansio/test/v1/nodes/n1",
		keys.Candidates():   "/mansio/test/v1/controllers/",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	for _, name := range []string{"", "a/b", "a b", strings.Repeat("x", 65), "ä"} {
		if _, err := NewKeys(name); !fault.Is(err, fault.Invalid) {
			t.Errorf("cluster %q: %v", name, err)
		}
	}
	_, name := keys.Split(keys.Start(7, 255))
	if g, topic, err := ParseStart(name); err != nil || g != 7 || topic != 255 {
		t.Errorf("%d %d %v", g, topic, err)
	}
	_, name = keys.Split(keys.Shard(12))
	if id, err := ParseShard(name); err != nil || id != 12 {
		t.Errorf("%d %v", id, err)
	}
}

// What is stored has no revision; what is read has that of its entry.
func TestEncodeAndDecode(t *testing.T) {
	keys := newKeys(t)
	objects := map[string]proto.Message{
		keys.Cluster():   &controlv1.Cluster{Uuid: "u", Name: "test"},
		keys.Topic("t"):  &controlv1.Topic{Id: 1, Name: "t", Revision: 99},
		keys.Group("g"):  &controlv1.Group{Id: 2, Name: "g", Revision: 99},
		keys.Start(2, 1): &controlv1.Start{Group: 2, Topic: 1, Revision: 99},
		keys.Shard(3):    &controlv1.Shard{Id: 3, Revision: 99},
		keys.Node("n"):   &controlv1.Node{Id: 4, Name: "n", Revision: 99},
	}
	state := &controlv1.WatchResponse{}
	for key, object := range objects {
		value, err := Encode(object)
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Add(state, Entry{Key: key, Value: value, Revision: 5}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{keys.Ids(), keys.Candidates() + "1", keys.All() + "of a later version", "/elsewhere"} {
		if err := keys.Add(state, Entry{Key: key, Value: []byte{0xff}, Revision: 5}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	want := &controlv1.WatchResponse{
		Cluster: &controlv1.Cluster{Uuid: "u", Name: "test"},
		Topics:  []*controlv1.Topic{{Id: 1, Name: "t", Revision: 5}},
		Groups:  []*controlv1.Group{{Id: 2, Name: "g", Revision: 5}},
		Starts:  []*controlv1.Start{{Group: 2, Topic: 1, Revision: 5}},
		Shards:  []*controlv1.Shard{{Id: 3, Revision: 5}},
		Nodes:   []*controlv1.Node{{Id: 4, Name: "n", Revision: 5}},
	}
	if diff := cmp.Diff(want, state, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if objects[keys.Topic("t")].(*controlv1.Topic).GetRevision() != 99 {
		t.Error("Encode changed its argument")
	}
	err := keys.Add(state, Entry{Key: keys.Topic("t"), Value: []byte{0xff}, Revision: 6})
	if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), keys.Topic("t")) {
		t.Errorf("damaged: %v", err)
	}
}

func FuzzAdd(f *testing.F) {
	topic, err := Encode(&controlv1.Topic{Id: 1, Name: "t", Queues: []*controlv1.Queue{{Shard: 1}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("topics/t", topic)
	f.Add("starts/1/2", []byte{8, 1})
	f.Add("shards/0000000001", []byte{8, 1})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		keys := newKeys(t)
		err := keys.Add(&controlv1.WatchResponse{}, Entry{Key: keys.All() + key, Value: value, Revision: 1})
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Error(err)
		}
		_, name := keys.Split(keys.All() + key)
		_, _, _ = ParseStart(name)
		_, _ = ParseShard(name)
	})
}

// newBook makes a book with counters, as bootstrap does.
func newBook(t *testing.T, store Store, reign ...Cond) *Book {
	t.Helper()
	book := NewBook(store, newKeys(t), reign...)
	draft := &Draft{}
	draft.Put(book.Keys.Ids(), &controlv1.Ids{})
	if _, err := NewBook(store, book.Keys).Commit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	return book
}

// Two controllers that believe they lead never hand out an id twice.
func TestIDsAreUnique(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		newBook(t, store)
		books := []*Book{NewBook(store, newKeys(t)), NewBook(store, newKeys(t))}
		var mu sync.Mutex
		seen := make(map[uint64]bool)
		var work sync.WaitGroup
		for i := range 8 {
			work.Go(func() {
				for taken := 0; taken < 5; {
					var id uint64
					_, err := books[i%2].CommitWithIDs(t.Context(), func(ids *Counters, _ *Draft) error {
						id = ids.Object()
						return nil
					})
					if fault.Is(err, fault.Conflict) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					taken++
					mu.Lock()
					if seen[id] {
						t.Errorf("id %d twice", id)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
		work.Wait()
		ids, err := NewBook(store, newKeys(t)).LastIDs(t.Context())
		if err != nil || ids.GetObject() != 40 || len(seen) != 40 {
			t.Errorf("%v %v, %d seen", ids, err, len(seen))
		}
	})
}

func TestIDsComeWithTheirCommit(t *testing.T) {
	store := NewMemory()
	book := newBook(t, store)
	broken := errors.New("broken")
	if _, err := book.CommitWithIDs(t.Context(), func(ids *Counters, _ *Draft) error {
		ids.Object()
		return broken
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	_, err := book.CommitWithIDs(t.Context(), func(ids *Counters, draft *Draft) error {
		if id := ids.Object(); id != 1 {
			t.Errorf("id %d: the one before was never used", id)
		}
		if shard, incarnation := ids.Shard(), ids.Incarnation(); shard != 1 || incarnation != 1 {
			t.Errorf("shard %d, incarnation %d", shard, incarnation)
		}
		draft.Expect(book.Keys.Topic("t"), 0)
		draft.Put(book.Keys.Topic("t"), &controlv1.Topic{Id: 1, Name: "t"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The name is taken: nothing is handed out.
	_, err = book.CommitWithIDs(t.Context(), func(ids *Counters, draft *Draft) error {
		ids.Object()
		draft.Expect(book.Keys.Topic("t"), 0)
		return nil
	})
	if ids, _ := book.LastIDs(t.Context()); !fault.Is(err, fault.Conflict) || ids.GetObject() != 1 {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestDeposedControllerChangesNothing(t *testing.T) {
	store := NewMemory()
	place := put(t, store, "/place", "me")
	book := newBook(t, store, Cond{"/place", place})
	draft := &Draft{}
	draft.Put("/x", &controlv1.Ids{})
	if _, err := book.Commit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	put(t, store, "/place", "you")
	if _, err := book.Commit(t.Context(), draft); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if _, err := book.CommitWithIDs(t.Context(), func(*Counters, *Draft) error { return nil }); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
}

func TestLostCountersAreAnError(t *testing.T) {
	book := NewBook(NewMemory(), newKeys(t))
	if _, err := book.LastIDs(t.Context()); !fault.Is(err, fault.Corrupt) {
		t.Errorf("%v", err)
	}
}
