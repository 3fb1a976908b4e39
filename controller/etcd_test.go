// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/controller/etcd"
	"github.com/mansiomq/mansio/internal/datadir"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/rpc"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// These tests run in real time, on a real etcd.

// realWorld is a world without a controller yet.
func realWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dialer: rpc.NewDialer(rpc.Guard{})}
	w.dialer.Isolate()
	ctx, cancel := context.WithCancel(t.Context())
	w.life = ctx
	t.Cleanup(func() {
		cancel()
		w.tasks.Wait()
		if err := w.dialer.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// folder opens a data folder until the test ends.
func folder(t *testing.T, path string) *datadir.Dir {
	t.Helper()
	dir, err := datadir.Open(path, "mansio test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() }) // some tests have closed it
	return dir
}

// run starts a controller at an address; stop ends it and returns what Run returned.
func (w *world) run(address string, config Config) (c *Controller, stop func() error) {
	w.t.Helper()
	c, stop, _ = w.runUntilEnd(address, config)
	return c, stop
}

// runUntilEnd is run with a channel that delivers what Run returned when it ended by itself.
func (w *world) runUntilEnd(address string, config Config) (c *Controller, stop func() error, end <-chan error) {
	w.t.Helper()
	config.Cluster, config.Address, config.Dial, config.Now, config.Log = "test", address, w.dialer.Conn, time.Now, testLog(w.t)
	config.AutoCreateTopics, config.AutoCreateGroups = true, true
	if config.ShardsPerNode == 0 {
		config.ShardsPerNode = 2
	}
	c, err := New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.life)
	stopServer := w.serve(ctx, address, c.Register)
	ended := make(chan error, 1)
	w.tasks.Go(func() {
		defer close(ended)
		ended <- c.Run(ctx)
	})
	return c, func() error {
		cancel()
		stopServer()
		return <-ended
	}, ended
}

func TestEmbeddedRestart(t *testing.T) {
	w := realWorld(t)
	path := t.TempDir()
	dir := folder(t, path)
	began := time.Now()
	c, stop := w.run("controller", Config{Data: dir, Embedded: true})
	<-c.Ready()
	first := time.Since(began)
	table := w.watch("proxy p1")
	w.node("n1", nil)
	await(t, table, "two led shards", allLed(2))
	made, err := w.admin().CreateTopic(t.Context(), create("t", nil))
	if err != nil {
		t.Fatal(err)
	}
	identity := dir.Identity()
	cluster := table.Snapshot().Cluster()
	if identity.Cluster != cluster.GetUuid() || cluster.GetEtcdClusterId() == 0 || len(cluster.GetHandleKeys()) != 1 ||
		len(cluster.GetHandleKeys()[0].GetSecret()) != handleKeyBytes {
		t.Errorf("%v, %v", identity, cluster)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	dir = folder(t, path)
	began = time.Now()
	c, stop = w.run("controller", Config{Data: dir, Embedded: true})
	<-c.Ready()
	t.Logf("ready after %v, restarted after %v", first, time.Since(began))
	again, err := w.admin().GetTopic(t.Context(), &controlv1.GetTopicRequest{Name: "t"}, grpc.WaitForReady(true))
	if err != nil || again.GetTopic().GetId() != made.GetTopic().GetId() || again.GetTopic().GetRevision() != made.GetRevision() {
		t.Errorf("%v %v", again, err)
	}
	if _, err := w.admin().CreateTopic(t.Context(), create("u", nil)); err != nil {
		t.Error(err)
	}
	await(t, table, "the new topic", func(s *metadata.Snapshot) bool { return s.TopicByName("u") != nil })
	if dir.Identity() != identity {
		t.Errorf("%v, then %v", identity, dir.Identity())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Data folders and etcds that do not belong together are refused, with the remedy, and nothing is changed.
func TestStartRefusals(t *testing.T) {
	external, err := etcd.StartEmbedded(t.Context(), etcd.EmbeddedOptions{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer external.Close()
	w := realWorld(t)
	at := &etcd.ExternalOptions{Endpoints: []string{external.Endpoint}}
	first := folder(t, t.TempDir())
	c, stop := w.run("controller", Config{Data: first, External: at})
	<-c.Ready()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	lost := folder(t, t.TempDir())
	other := folder(t, t.TempDir())
	for _, dir := range []*datadir.Dir{lost, other} {
		if err := dir.BindCluster("another-cluster", "test"); err != nil {
			t.Fatal(err)
		}
	}
	emptied := folder(t, t.TempDir())
	if err := errors.Join(emptied.BindCluster("another-cluster", "test"), os.Mkdir(emptied.Etcd(), 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config Config
		kind   fault.Kind
		says   string
	}{
		"etcd of another cluster":  {Config{Data: other, External: at}, fault.Incompatible, "connect to the right etcd"},
		"etcd without our cluster": {Config{Data: lost, Embedded: true}, fault.Incompatible, "restore etcd from a backup"},
		"an empty etcd":            {Config{Data: emptied, Embedded: true}, fault.Incompatible, "restore etcd from a backup"},
		"no etcd there": {
			Config{Data: first, External: &etcd.ExternalOptions{Endpoints: []string{"127.0.0.1:1"}}},
			fault.Unavailable, "check --etcd-endpoints",
		},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, stop, end := w.runUntilEnd("refused", c.config)
			err := <-end
			_ = stop() // only its server is left
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	for _, dir := range []*datadir.Dir{first, lost} {
		if _, err := os.Stat(dir.Etcd()); !os.IsNotExist(err) {
			t.Errorf("a folder for etcd was made: %v", err)
		}
	}
}

// Several controllers on one etcd: one leads, the others say who; when it stops the next one goes on, and changes
// made by either are everybody's.
func TestControllersTakeTurns(t *testing.T) {
	external, err := etcd.StartEmbedded(t.Context(), etcd.EmbeddedOptions{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer external.Close()
	w := realWorld(t)
	at := &etcd.ExternalOptions{Endpoints: []string{external.Endpoint}}
	first, stopFirst := w.run("controller", Config{Data: folder(t, t.TempDir()), External: at})
	<-first.Ready()
	second, stopSecond := w.run("second", Config{Data: folder(t, t.TempDir()), External: at})
	<-second.Ready()
	if !first.Leads() || second.Leads() {
		t.Errorf("first leads %v, second %v", first.Leads(), second.Leads())
	}
	conn := func(address string) grpc.ClientConnInterface {
		conn, err := w.dialer.Conn(address)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	table := metadata.NewTable()
	watcher := metadata.NewWatcher(metadata.WatcherOptions{
		Name: "proxy p1", Controllers: []grpc.ClientConnInterface{conn("second"), conn("controller")}, Table: table,
	})
	w.tasks.Go(func() {
		if err := watcher.Run(w.life); err != nil {
			t.Error(err)
		}
	})
	node := w.node("n1", nil)
	await(t, table, "two led shards", allLed(2))
	_, err = controlv1.NewAdminClient(conn("second")).CreateTopic(t.Context(), create("t", nil))
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the one at controller does") {
		t.Errorf("%v", err)
	}
	made, err := w.admin().CreateTopic(t.Context(), create("t", nil))
	if err != nil {
		t.Fatal(err)
	}
	node.mu.Lock()
	node.controller = "second" // where it looks when its session breaks
	node.mu.Unlock()
	began := time.Now()
	if err := stopFirst(); err != nil {
		t.Error(err)
	}
	again, err := retry(t, func() (*controlv1.TopicResponse, error) {
		return controlv1.NewAdminClient(conn("second")).CreateTopic(t.Context(), create("u", nil))
	})
	if err != nil || again.GetTopic().GetId() <= made.GetTopic().GetId() {
		t.Errorf("%v %v", again, err)
	}
	t.Logf("the second one answered after %v", time.Since(began))
	await(t, table, "both topics", func(s *metadata.Snapshot) bool { return s.TopicByName("t") != nil && s.TopicByName("u") != nil })
	if err := stopSecond(); err != nil {
		t.Error(err)
	}
}

// retry calls until the answer is something else than that nobody leads.
func retry(t *testing.T, call func() (*controlv1.TopicResponse, error)) (*controlv1.TopicResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		response, err := call()
		if !fault.Is(err, fault.Unavailable) {
			return response, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}
