// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// candidate is one controller that wants to lead; leaders delivers what it hears while it waits.
func candidate(t *testing.T, client *clientv3.Client, uuid string, instance uint64) (e *Election, leaders chan string) {
	t.Helper()
	leaders = make(chan string, 10)
	return &Election{
		Client: client, Keys: newKeys(t), Log: slog.New(slog.DiscardHandler),
		Candidate: &controlv1.Candidate{DataUuid: uuid, Instance: instance, Address: "address of " + uuid},
		Waiting:   func(leader *controlv1.Candidate) { leaders <- leader.GetAddress() },
	}, leaders
}

func campaign(t *testing.T, e *Election) *Reign {
	t.Helper()
	reign, err := e.Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reign.End)
	return reign
}

func TestElection(t *testing.T) {
	client := startEtcd(t)
	first, _ := candidate(t, client, "a", 1)
	second, heard := candidate(t, client, "b", 1)
	reign := campaign(t, first)
	won := make(chan *Reign, 1)
	go func() {
		reign, err := second.Campaign(t.Context())
		if err != nil {
			t.Error(err)
		}
		won <- reign
	}()
	if leader := <-heard; leader != "address of a" {
		t.Errorf("%s leads", leader)
	}
	select {
	case <-won:
		t.Error("two lead")
	default:
	}
	reign.End()
	<-reign.Lost()
	next := <-won
	defer next.End()
	if _, err := NewBook(NewEtcd(client), newKeys(t), reign.Conds...).Commit(t.Context(), &Draft{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the first one still commits: %v", err)
	}
	if _, err := NewBook(NewEtcd(client), newKeys(t), next.Conds...).Commit(t.Context(), &Draft{}); err != nil {
		t.Errorf("the second one does not: %v", err)
	}
}

// A restart does not wait for the lease of its own earlier life, but for everybody else's.
func TestElectionRemovesItsPredecessor(t *testing.T) {
	client := startEtcd(t)
	before, _ := candidate(t, client, "a", 1)
	after, _ := candidate(t, client, "a", 2)
	old := campaign(t, before)
	began := time.Now()
	campaign(t, after)
	if took := time.Since(began); took > leaseTTL/2 {
		t.Errorf("took %v", took)
	}
	if _, err := NewBook(NewEtcd(client), newKeys(t), old.Conds...).Commit(t.Context(), &Draft{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the old one still commits: %v", err)
	}
}

func TestElectionCanBeGivenUp(t *testing.T) {
	client := startEtcd(t)
	first, _ := candidate(t, client, "a", 1)
	second, heard := candidate(t, client, "b", 1)
	campaign(t, first)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := second.Campaign(ctx)
		ended <- err
	}()
	<-heard
	cancel()
	if err := <-ended; !fault.Is(err, fault.Canceled) {
		t.Errorf("%v", err)
	}
	queue, _, err := second.queue(t.Context())
	if err != nil || len(queue) != 1 {
		t.Errorf("%d in the queue, %v", len(queue), err)
	}
}

// A controller whose keepalives are not answered gives up before others may take over.
func TestSilentLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan *clientv3.LeaseKeepAliveResponse)
		began, lost := time.Now(), make(chan time.Time, 1)
		go func() {
			superviseLease(t.Context(), answers)
			lost <- time.Now()
		}()
		for range 5 {
			<-time.NewTimer(time.Second).C
			answers <- &clientv3.LeaseKeepAliveResponse{}
		}
		if took := (<-lost).Sub(began); took != 5*time.Second+leaseSilenceMax {
			t.Errorf("lost after %v", took)
		}
	})
}

func TestClosedLeaseIsLost(t *testing.T) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse)
	close(answers)
	superviseLease(t.Context(), answers)
}
