// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/controller/etcd"
	"github.com/mansiomq/mansio/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compactable is a store whose history tests can cut.
type compactable interface {
	Store
	Compact(ctx context.Context, revision int64) error
}

// etcdStore cuts the history of an etcd.
type etcdStore struct {
	*Etcd
	client *clientv3.Client
}

func (s etcdStore) Compact(ctx context.Context, revision int64) error {
	_, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	return err
}

// eachStore runs a test on every implementation.
func eachStore(t *testing.T, test func(t *testing.T, store compactable)) {
	t.Run("memory", func(t *testing.T) { test(t, NewMemory()) })
	t.Run("etcd", func(t *testing.T) {
		client := startEtcd(t)
		test(t, etcdStore{NewEtcd(client), client})
	})
	t.Run("etcd over the network", func(t *testing.T) {
		server, err := etcd.StartEmbedded(t.Context(), etcd.EmbeddedOptions{Dir: t.TempDir(), NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		client, err := etcd.Dial(t.Context(), etcd.ExternalOptions{Endpoints: []string{server.Endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = client.Close()
			_ = server.Close()
		})
		test(t, etcdStore{NewEtcd(client), client})
	})
}

func startEtcd(t *testing.T) *clientv3.Client {
	t.Helper()
	server, err := etcd.StartEmbedded(t.Context(), etcd.EmbeddedOptions{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.Client
}

// put commits one value without conditions and returns its revision.
func put(t *testing.T, store Store, key, value string) int64 {
	t.Helper()
	revision, err := store.Commit(t.Context(), Txn{Puts: []Put{{key, []byte(value)}}})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestGetAndConditions(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		absent, err := store.Get(t.Context(), "/a")
		if err != nil || absent.Revision != 0 || absent.Value != nil {
			t.Errorf("absent: %v %v", absent, err)
		}
		first, err := store.Commit(t.Context(), Txn{Conds: []Cond{{"/a", 0}}, Puts: []Put{{"/a", []byte("1")}, {"/b", []byte("2")}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"/a", "/b"} {
			if entry, err := store.Get(t.Context(), key); err != nil || entry.Revision != first {
				t.Errorf("%s: %v %v, want revision %d", key, entry, err, first)
			}
		}
		for name, cond := range map[string]Cond{"absent": {"/a", 0}, "older": {"/a", first - 1}, "newer": {"/a", first + 1}, "other": {"/c", first}} {
			_, err := store.Commit(t.Context(), Txn{Conds: []Cond{{"/b", first}, cond}, Puts: []Put{{"/a", []byte("x")}}, Deletes: []string{"/b"}})
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("%s: %v", name, err)
			}
		}
		second, err := store.Commit(t.Context(), Txn{Conds: []Cond{{"/a", first}}, Puts: []Put{{"/a", []byte("3")}}, Deletes: []string{"/b", "/never"}})
		if err != nil || second != first+1 {
			t.Errorf("revision %d after %d, %v", second, first, err)
		}
		if entry, err := store.Get(t.Context(), "/b"); err != nil || entry.Revision != 0 {
			t.Errorf("deleted: %v %v", entry, err)
		}
		if entry, err := store.Get(t.Context(), "/a"); err != nil || string(entry.Value) != "3" {
			t.Errorf("%v %v", entry, err)
		}
	})
}

func TestImpossibleTransactions(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		many := Txn{}
		for i := range TxnOpsMax + 1 {
			many.Deletes = append(many.Deletes, fmt.Sprint("/", i))
		}
		for name, txn := range map[string]Txn{
			"put twice":      {Puts: []Put{{Key: "/a"}, {Key: "/a"}}},
			"put and delete": {Puts: []Put{{Key: "/a"}}, Deletes: []string{"/a"}},
			"too large":      many,
		} {
			if _, err := store.Commit(t.Context(), txn); !fault.Is(err, fault.Internal) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestList(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		var last int64
		for _, key := range []string{"/p/c", "/p/a", "/q", "/p/b", "/o", "/p"} {
			last = put(t, store, key, "v"+key)
		}
		for _, c := range []struct {
			request ListRequest
			want    []string
			more    bool
		}{
			{ListRequest{Prefix: "/p/"}, []string{"/p/a", "/p/b", "/p/c"}, false},
			{ListRequest{Prefix: "/p/", Limit: 2}, []string{"/p/a", "/p/b"}, true},
			{ListRequest{Prefix: "/p/", Limit: 3}, []string{"/p/a", "/p/b", "/p/c"}, false},
			{ListRequest{Prefix: "/p/", After: "/p/a"}, []string{"/p/b", "/p/c"}, false},
			{ListRequest{Prefix: "/p/", After: "/p/a", Limit: 1}, []string{"/p/b"}, true},
			{ListRequest{Prefix: "/p/", After: "/p/c"}, nil, false},
			{ListRequest{Prefix: "/p/", After: "/a"}, []string{"/p/a", "/p/b", "/p/c"}, false},
			{ListRequest{Prefix: "/x/"}, nil, false},
		} {
			listing, err := store.List(t.Context(), c.request)
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, entry := range listing.Entries {
				keys = append(keys, entry.Key)
				if string(entry.Value) != "v"+entry.Key {
					t.Errorf("%s holds %s", entry.Key, entry.Value)
				}
			}
			if diff := cmp.Diff(c.want, keys); diff != "" || listing.More != c.more || listing.Revision != last || listing.ClusterID == 0 {
				t.Errorf("%v: %v, more %v, revision %d of %d", c.request, keys, listing.More, listing.Revision, last)
			}
		}
	})
}

// A long list is read in pages, and yet of one revision.
func TestListIsLong(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		txn := Txn{}
		for i := range 2*pageMax + 1 {
			txn.Puts = append(txn.Puts, Put{Key: fmt.Sprintf("/l/%06d", i)})
			if len(txn.Puts) == TxnOpsMax {
				if _, err := store.Commit(t.Context(), txn); err != nil {
					t.Fatal(err)
				}
				txn = Txn{}
			}
		}
		if _, err := store.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
		listing, err := store.List(t.Context(), ListRequest{Prefix: "/l/"})
		if err != nil || len(listing.Entries) != 2*pageMax+1 || listing.More {
			t.Errorf("%d entries, more %v, %v", len(listing.Entries), listing.More, err)
		}
		listing, err = store.List(t.Context(), ListRequest{Prefix: "/l/", Limit: pageMax + 1})
		if err != nil || len(listing.Entries) != pageMax+1 || !listing.More {
			t.Errorf("%d entries, more %v, %v", len(listing.Entries), listing.More, err)
		}
	})
}

// watching runs a watch and returns its batches, and a function that ends it and returns its error.
func watching(t *testing.T, store Store, prefix string, from int64) (batches <-chan Batch, end func() error) {
	t.Helper()
	out := make(chan Batch, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- store.Watch(ctx, prefix, from, func(b Batch) error {
			out <- b
			return nil
		})
	}()
	return out, func() error {
		cancel()
		return <-ended
	}
}

// next returns the next batch in short: revision, then what changed.
func next(t *testing.T, batches <-chan Batch) string {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case b := <-batches:
		text := ""
		for _, c := range b.Changes {
			if c.Revision != b.Revision {
				t.Errorf("%s of revision %d in a batch of %d", c.Key, c.Revision, b.Revision)
			}
			if c.Deleted {
				text += fmt.Sprintf(" -%s", c.Key)
			} else {
				text += fmt.Sprintf(" %s=%s", c.Key, c.Value)
			}
		}
		return text
	case <-timeout.C:
		t.Fatal("no batch")
		return ""
	}
}

func TestWatch(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		first := put(t, store, "/p/a", "1")
		put(t, store, "/q/x", "1")
		batches, end := watching(t, store, "/p/", first) // from the past on
		if _, err := store.Commit(t.Context(), Txn{Puts: []Put{{"/p/b", []byte("2")}, {"/q/y", nil}}, Deletes: []string{"/p/a"}}); err != nil {
			t.Fatal(err)
		}
		put(t, store, "/p/c", "3")
		for _, want := range []string{" /p/a=1", " /p/b=2 -/p/a", " /p/c=3"} {
			if got := next(t, batches); got != want {
				t.Errorf("batch%s, not%s", got, want)
			}
		}
		if err := end(); !fault.Is(err, fault.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchEndsWithItsHandler(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		first := put(t, store, "/p/a", "1")
		enough := errors.New("enough")
		if err := store.Watch(t.Context(), "/p/", first, func(Batch) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	})
}

func TestWatchOfCompactedHistory(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		first := put(t, store, "/p/a", "1")
		second := put(t, store, "/p/a", "2")
		last := put(t, store, "/p/a", "3")
		if err := store.Compact(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		err := store.Watch(t.Context(), "/p/", first, func(b Batch) error { return fmt.Errorf("got %v", b) })
		if !errors.Is(err, ErrCompacted) {
			t.Errorf("%v", err)
		}
		batches, end := watching(t, store, "/p/", last)
		if got := next(t, batches); got != " /p/a=3" {
			t.Errorf("batch%s", got)
		}
		_ = end()
	})
}

// Whatever is committed, a watch from the beginning rebuilds exactly what a list shows.
func TestWatchRebuildsTheList(t *testing.T) {
	eachStore(t, func(t *testing.T, store compactable) {
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			prefix := fmt.Sprintf("/r%d/", run)
			listing, err := store.List(t.Context(), ListRequest{Prefix: prefix})
			if err != nil {
				rt.Fatal(err)
			}
			batches, end := watching(t, store, prefix, listing.Revision+1)
			defer end()
			built := make(map[string]string)
			commits := rapid.IntRange(1, 8).Draw(rt, "commits")
			for range commits {
				commitSome(t, rt, store, prefix)
			}
			last := put(t, store, prefix+"last", "!")
			for done := false; !done; {
				b := <-batches
				for _, c := range b.Changes {
					built[c.Key] = string(c.Value)
					if c.Deleted {
						delete(built, c.Key)
					}
				}
				done = b.Revision == last
			}
			listing, err = store.List(t.Context(), ListRequest{Prefix: prefix})
			if err != nil {
				rt.Fatal(err)
			}
			listed := make(map[string]string)
			for _, entry := range listing.Entries {
				listed[entry.Key] = string(entry.Value)
			}
			if diff := cmp.Diff(listed, built); diff != "" {
				rt.Error(diff)
			}
		})
	})
}

// commitSome changes a few keys at random.
func commitSome(t *testing.T, rt *rapid.T, store Store, prefix string) {
	txn := Txn{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 4, rapid.ID).Draw(rt, "keys") {
		if rapid.Bool().Draw(rt, "delete") {
			txn.Deletes = append(txn.Deletes, prefix+name)
		} else {
			txn.Puts = append(txn.Puts, Put{prefix + name, []byte(rapid.StringMatching("[0-9]").Draw(rt, "value"))})
		}
	}
	if _, err := store.Commit(t.Context(), txn); err != nil {
		rt.Fatal(err)
	}
}
