// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"os"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

const renewedLease = 60 * time.Second // what a receive with auto-renew gets, whatever it asks for

// autoRenewed receives with auto-renew, as push consumers do.
func autoRenewed(t *testing.T) leased {
	t.Helper()
	l := leased{c: dial(t), topic: newTopic(t, "normal"), group: unique(t)}
	send(t, l.c, raw.Message(l.topic, "slow work"))
	got := receive(t, l.c, raw.Receive{
		Group: l.group, Topic: l.topic, Invisible: time.Second,
		Edit: func(r *v2.ReceiveMessageRequest) { r.AutoRenew = true },
	})
	l.m = got[0]
	return l
}

// other returns the same group and topic seen by a client with nothing leased.
func (l leased) other(t *testing.T) leased {
	t.Helper()
	l.c = dial(t)
	return l
}

// returned waits until the message comes back to another client and says how long after start that was.
func (l leased) returned(t *testing.T, start time.Time, limit time.Duration) time.Duration {
	t.Helper()
	o := l.other(t)
	for time.Since(start) < limit {
		got := receiveOnce(t, o.c, raw.Receive{
			Group: o.group, Topic: o.topic, Invisible: time.Minute, Poll: 2 * time.Second,
		})
		if len(got.Messages) > 0 {
			if attempt(got.Messages[0]) != 2 {
				t.Errorf("attempt %d, want 2", attempt(got.Messages[0]))
			}
			return time.Since(start)
		}
	}
	t.Fatalf("the message did not come back within %v", limit)
	return 0
}

// beat sends a heartbeat every 5 s until the context ends.
func (l leased) beat(ctx context.Context) {
	for ctx.Err() == nil {
		call, cancel := l.c.Call(ctx)
		_, _ = l.c.Heartbeat(call, &v2.HeartbeatRequest{
			ClientType: v2.ClientType_PUSH_CONSUMER, Group: raw.Resource(l.group),
		})
		cancel()
		pause(ctx, 5*time.Second)
	}
}

// TestRawRenew says what a lease with auto-renew is worth. The cases that outlive a lease run with SLOW=1.
func TestRawRenew(t *testing.T) {
	t.Parallel()
	t.Run("the duration asked for is ignored", func(t *testing.T) {
		t.Parallel()
		l := autoRenewed(t)
		l.other(t).gone(t)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
	})
	t.Run("a change ends the renewal", func(t *testing.T) {
		t.Parallel()
		l := autoRenewed(t)
		l.change(t, l.m, shortLease)
		start := time.Now()
		l.returned(t, start, shortLease+5*time.Second)
	})
	if os.Getenv("SLOW") != "1" {
		return
	}
	t.Run("held while the client shows signs of life", func(t *testing.T) {
		t.Parallel()
		l := autoRenewed(t)
		ctx, cancel := context.WithTimeout(t.Context(), renewedLease+20*time.Second)
		defer cancel()
		go l.beat(ctx)
		o := l.other(t)
		for ctx.Err() == nil {
			wantNothing(t, o.c, raw.Receive{Group: o.group, Topic: o.topic, Invisible: time.Minute}, 5*time.Second)
		}
		ack(t, l.c, l.group, l.m, v2.Code_OK)
	})
	t.Run("given to others when the client is silent", func(t *testing.T) {
		t.Parallel()
		l := autoRenewed(t)
		start := time.Now()
		if took := l.returned(t, start, 2*renewedLease); took < renewedLease-5*time.Second {
			t.Errorf("came back after %v, within its first lease", took)
		}
	})
	t.Run("given to others soon after the client has ended", func(t *testing.T) {
		t.Parallel()
		l := autoRenewed(t)
		ctx, cancel := context.WithTimeout(t.Context(), renewedLease+5*time.Second)
		defer cancel()
		l.beat(ctx)
		call, done := l.c.Call(t.Context())
		defer done()
		if _, err := l.c.NotifyClientTermination(call, &v2.NotifyClientTerminationRequest{
			Group: raw.Resource(l.group),
		}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		// 15 s of grace for what is still being handled.
		l.returned(t, start, 30*time.Second)
	})
}
