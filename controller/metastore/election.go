// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// leaseTTL is how long a dead controller keeps its place. Etcd's floor is 1.5 election timeouts, 2 s by default.
	leaseTTL = 4 * time.Second
	// leaseSilenceMax is when a controller without an answer to its keepalives gives up by itself, well before others
	// may take over. Commits are safe anyway: each depends on the place in the queue.
	leaseSilenceMax = leaseTTL / 2
	// revokeMax bounds the courtesy at the end of a reign.
	revokeMax = time.Second
)

// Reign is the time in which one controller leads.
type Reign struct {
	// Conds hold as long as it lasts; every commit depends on them.
	Conds []Cond
	lost  chan struct{}
	end   func()
}

// AloneReign is the reign of a controller that has no rivals: it never ends.
func AloneReign() *Reign { return &Reign{lost: make(chan struct{}), end: func() {}} }

// Lost is closed when the reign is over, or may be.
func (r *Reign) Lost() <-chan struct{} { return r.lost }

// End gives the place to the next one and returns when the lease's goroutine is
// gone.
func (r *Reign) End() { r.end() }

// Election picks one of several controllers: each queues up under the cluster's
// prefix with a lease, and the one that has waited longest leads.
type Election struct {
	Client    *clientv3.Client
	Keys      Keys
	Candidate *controlv1.Candidate
	Log       *slog.Logger
	// Waiting is told who leads while this controller waits.
	Waiting func(leader *controlv1.Candidate)
}

// Campaign queues up and returns when it is this controller's turn. An earlier
// life of the same data folder is removed from the queue first: the folder's lock
// proves that it is dead, so a restart does not wait for its lease.
func (e *Election) Campaign(ctx context.Context) (*Reign, error) {
	const op = "controller election"
	if err := e.removePredecessor(ctx); err != nil {
		return nil, err
	}
	reign, key, err := e.enqueue(ctx)
	if err != nil {
		return nil, err
	}
	for {
		queue, revision, err := e.queue(ctx)
		if err != nil {
			reign.End()
			return nil, err
		}
		if len(queue) > 0 && queue[0].key == key {
			reign.Conds = []Cond{{Key: key, Revision: queue[0].revision}}
			return reign, nil
		}
		if len(queue) > 0 {
			e.Waiting(queue[0].candidate)
		}
		if err := e.awaitChange(ctx, reign, revision); err != nil {
			reign.End()
			return nil, fault.E(op, fault.Other, err)
		}
	}
}

// place is one controller in the queue.
type place struct {
	key       string
	revision  int64
	candidate *controlv1.Candidate
}

// queue lists the candidates, the leader first.
func (e *Election) queue(ctx context.Context) ([]place, int64, error) {
	const op = "controller election"
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	response, err := e.Client.Get(ctx, e.Keys.Candidates(), clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, 0, etcdFault(op, err)
	}
	var queue []place
	for _, kv := range response.Kvs {
		p := place{key: string(kv.GetKey()), revision: kv.GetModRevision(), candidate: &controlv1.Candidate{}}
		if err := proto.Unmarshal(kv.GetValue(), p.candidate); err != nil {
			return nil, 0, fault.Errorf(op, fault.Corrupt, "%s: %w", p.key, err)
		}
		queue = append(queue, p)
	}
	return queue, response.Header.GetRevision(), nil
}

func (e *Election) removePredecessor(ctx context.Context) error {
	queue, _, err := e.queue(ctx)
	if err != nil {
		return err
	}
	for _, p := range queue {
		if p.candidate.GetDataUuid() != e.Candidate.GetDataUuid() || e.Candidate.GetDataUuid() == "" {
			continue
		}
		if _, err := NewEtcd(e.Client).Commit(ctx, Txn{Conds: []Cond{{p.key, p.revision}}, Deletes: []string{p.key}}); err != nil &&
			!fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return nil
}

// enqueue puts this controller at the end of the queue, for as long as its lease
// is kept alive.
func (e *Election) enqueue(ctx context.Context) (*Reign, string, error) {
	const op = "controller election"
	value, err := Encode(e.Candidate)
	if err != nil {
		return nil, "", err
	}
	call, cancelCall := context.WithTimeout(ctx, callMax)
	defer cancelCall()
	lease, err := e.Client.Grant(call, int64(leaseTTL/time.Second))
	if err != nil {
		return nil, "", etcdFault(op, err)
	}
	key := fmt.Sprintf("%s%016x", e.Keys.Candidates(), int64(lease.ID))
	if _, err := e.Client.Put(call, key, string(value), clientv3.WithLease(lease.ID)); err != nil {
		return nil, "", etcdFault(op, err)
	}
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	answers, err := e.Client.KeepAlive(keep, lease.ID)
	if err != nil {
		cancel()
		return nil, "", etcdFault(op, err)
	}
	reign := &Reign{lost: make(chan struct{})}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer close(reign.lost)
		superviseLease(keep, answers)
	}()
	var once sync.Once
	reign.end = func() {
		once.Do(func() {
			cancel()
			<-gone
			e.revoke(ctx, lease.ID)
		})
	}
	return reign, key, nil
}

// superviseLease returns when the lease is lost, or nothing was heard of it for
// too long, whatever the client still believes.
func superviseLease(ctx context.Context, answers <-chan *clientv3.LeaseKeepAliveResponse) {
	silence := time.NewTimer(leaseSilenceMax)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-silence.C:
			return
		case answer, ok := <-answers:
			if !ok || answer == nil {
				return
			}
			silence.Reset(leaseSilenceMax)
		}
	}
}

// revoke frees the place at once; if that fails the lease runs out by itself.
func (e *Election) revoke(ctx context.Context, lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeMax)
	defer cancel()
	if _, err := e.Client.Revoke(ctx, lease); err != nil {
		e.Log.WarnContext(ctx, "the place in the controller queue is not given back; it runs out by itself", "error", err)
	}
}

// awaitChange returns when the queue changed after that revision.
func (e *Election) awaitChange(ctx context.Context, reign *Reign, revision int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	responses := e.Client.Watch(clientv3.WithRequireLeader(ctx), e.Keys.Candidates(), clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	select {
	case response, ok := <-responses:
		if err := response.Err(); ok && err != nil && response.CompactRevision == 0 {
			return etcdFault("controller election", err)
		}
		if ctx.Err() != nil {
			return fault.E("", fault.Canceled, ctx.Err())
		}
		return nil
	case <-reign.Lost():
		return fault.Errorf("", fault.Unavailable, "the place in the queue was lost")
	case <-ctx.Done():
		return fault.E("", fault.Canceled, ctx.Err())
	}
}
