// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
)

// holding lets a test keep the disk from answering calls of a kind.
type holding struct {
	entered chan struct{} // closed when the first one is held
	release chan struct{}
	once    sync.Once
}

// hold holds all calls of op on files whose names contain part, and has them
// fail with errno when they are released.
func hold(d *disk.Memory, op disk.Op, part string, errno syscall.Errno) *holding {
	h := &holding{entered: make(chan struct{}), release: make(chan struct{})}
	d.Hook(func(c disk.Call) error {
		if c.Op != op || !strings.Contains(c.Name, part) {
			return nil
		}
		h.once.Do(func() { close(h.entered) })
		<-h.release
		if errno != 0 {
			return errno
		}
		return nil
	})
	return h
}

// reopen opens the replica for another life, which ends with what it returns.
func (l *life) reopen() (ctx context.Context) {
	l.t.Helper()
	s, err := Open(l.options())
	if err != nil {
		l.t.Fatal(err)
	}
	l.shard = s
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(l.t.Context()))
	return ctx
}

// becomes waits until the shard has a role, without asking its owner anything.
func (l *life) becomes(want replica.Role) {
	l.t.Helper()
	for l.shard.Status().Role != want {
		runtime.Gosched()
	}
}

// TestNobodyWaitsForARecovery: whoever asks a replica that does not serve yet is
// told so at once, and one whose recovery is ended answers everybody.
func TestNobodyWaitsForARecovery(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.stop()
	ctx := l.reopen()
	s := l.shard
	if r := l.do(&storeapi.Offsets{Topic: topicID}); r.Code != storeapi.NotLeader {
		t.Fatalf("before recovery: %v", r)
	}
	for id := range uint64(200) {
		s.Forget(record.ConfigTopic, id, 1)
	}
	fenced := make(chan error, 1)
	go func() {
		_, err := s.Fence(ctx, 50, replica.Seen{})
		fenced <- err
	}()
	for len(s.calls) == 0 {
		runtime.Gosched()
	}
	l.cancel()
	if err := <-fenced; !fault.Is(err, fault.Timeout) {
		t.Fatalf("a fence beyond its deadline: %v", err)
	}
	if err := s.Run(ctx); err == nil {
		t.Fatal("it recovered")
	}
	if r := l.do(&storeapi.Offsets{Topic: topicID}); r.Code != storeapi.Unavailable {
		t.Fatalf("after its end: %v", r)
	}
	if _, err := s.Fence(t.Context(), 51, replica.Seen{}); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a fence after its end: %v", err)
	}
	s.ForgetMissing(func(record.ConfigKind, uint64) bool { return false }, 9)
}

func TestAFailedRecoveryIsToldAtOnce(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.bulk(0, 20)
	l.stop()
	remove(t, d, files(t, d, "ckpt-")...)
	spoil(t, d, files(t, d, ".log")[0])
	ctx := l.reopen()
	go func() { l.ended <- l.shard.Run(ctx) }()
	l.becomes(replica.Failed)
	l.cancel()
	if err := <-l.ended; err == nil {
		t.Fatal("the end of a log that was not recovered was not told")
	}
}

func TestAFenceIsAnsweredWhenTheReplicaFails(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	h := hold(d, disk.OpSync, ".free", syscall.EIO) // the segment's first name
	before := l.shard.Status().End
	sent := l.start(&storeapi.Append{Topic: topicID, Payloads: [][]byte{payload(0, "x", "", 1)}})
	for l.shard.Status().End == before { // until it is written, and being synced
		runtime.Gosched()
	}
	fenced := make(chan error, 1)
	go func() {
		_, err := l.shard.Fence(t.Context(), l.term+1, replica.Seen{})
		fenced <- err
	}()
	for l.do(&storeapi.Offsets{Topic: topicID}).Code == storeapi.OK { // until the fence has come
	}
	close(h.release)
	if r := <-sent; r.Result.(*storeapi.AppendResult).Entries[0].Code != storeapi.Unknown {
		t.Fatalf("the send: %v", r)
	}
	if err := <-fenced; !fault.Is(err, fault.Corrupt) {
		t.Fatalf("the fence: %v", err)
	}
	l.cancel()
	<-l.ended // the log says that it failed
}

// TestAPromiseIsMadeDurableBesideTheOwner, and whoever waits for it may leave.
func TestAPromiseIsMadeDurableBesideTheOwner(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	h := hold(d, disk.OpSync, "meta.", 0)
	ctx, cancel := context.WithCancel(t.Context())
	fenced := make(chan error, 1)
	go func() {
		_, err := l.shard.Fence(ctx, l.term+1, replica.Seen{})
		fenced <- err
	}()
	<-h.entered
	for l.do(&storeapi.Offsets{Topic: topicID}).Code != storeapi.NotLeader {
	}
	cancel()
	if err := <-fenced; !fault.Is(err, fault.Timeout) {
		t.Fatalf("a fence beyond its deadline: %v", err)
	}
	close(h.release)
	f, err := l.shard.Fence(t.Context(), l.term+1, replica.Seen{})
	if err != nil || f.Term != l.term+1 {
		t.Fatal(f, err)
	}
	if m, _, err := replica.LoadMeta(d, "s"); err != nil || m.Term != l.term+1 {
		t.Fatalf("answered before the promise was durable: %v %v", m.Term, err)
	}
	l.stop()
}

// TestALogThatDiesWhileIdle fails the replica: it must not go on as if it could
// be written until somebody tries.
func TestALogThatDiesWhileIdle(t *testing.T) {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.stop()
	remove(t, d, files(t, d, "reserve")...)
	ctx := l.reopen()
	d.Hook(func(c disk.Call) error {
		if strings.Contains(c.Name, "reserve") { // of the log's own preparation
			return syscall.EIO
		}
		return nil
	})
	go func() { l.ended <- l.shard.Run(ctx) }()
	l.becomes(replica.Failed)
	l.cancel()
	if err := <-l.ended; err == nil {
		t.Fatal("the end of a dead log was not told")
	}
}
