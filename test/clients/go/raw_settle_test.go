// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

const shortLease = time.Second // long enough to settle within, short enough to wait for

// leased is a message of a fresh topic held by a fresh group.
type leased struct {
	c            *raw.Client
	topic, group string
	m            *v2.Message
}

func lease(t *testing.T, invisible time.Duration) leased {
	t.Helper()
	l := leased{c: dial(t), topic: newTopic(t, "normal"), group: unique(t)}
	send(t, l.c, raw.Message(l.topic, "leased"))
	l.m = l.receive(t, invisible)
	if attempt(l.m) != 1 {
		t.Fatalf("first delivery has attempt %d", attempt(l.m))
	}
	return l
}

func (l leased) receive(t *testing.T, invisible time.Duration) *v2.Message {
	t.Helper()
	got := receive(t, l.c, raw.Receive{Group: l.group, Topic: l.topic, Invisible: invisible})
	if len(got) != 1 {
		t.Fatalf("received %d messages, want 1", len(got))
	}
	return got[0]
}

// change changes the invisible duration, wants OK and returns m with the new handle.
func (l leased) change(t *testing.T, m *v2.Message, d time.Duration) *v2.Message {
	t.Helper()
	resp, err := l.c.Change(t.Context(), l.group, m, d)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "change invisible duration", resp.GetStatus(), v2.Code_OK)
	if resp.GetReceiptHandle() == "" {
		t.Fatal("change invisible duration answered no handle")
	}
	changed := proto.Clone(m).(*v2.Message)
	changed.SystemProperties.ReceiptHandle = proto.String(resp.GetReceiptHandle())
	return changed
}

func (l leased) gone(t *testing.T) {
	t.Helper()
	wantNothing(t, l.c, raw.Receive{Group: l.group, Topic: l.topic, Invisible: time.Minute}, shortLease+500*time.Millisecond)
}

// TestRawAck says what acknowledging does: once is enough, twice is harmless, late is refused.
func TestRawAck(t *testing.T) {
	t.Parallel()
	t.Run("acknowledged never comes back", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
		l.gone(t)
	})
	t.Run("twice is OK, also after the lease", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
		l.gone(t)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
	})
	t.Run("after the lease is refused", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		again := l.receive(t, time.Minute)
		if attempt(again) != 2 {
			t.Errorf("second delivery has attempt %d, want 2", attempt(again))
		}
		ack(t, l.c, l.group, l.m, v2.Code_INVALID_RECEIPT_HANDLE)
		ack(t, l.c, l.group, again, v2.Code_OK)
	})
	t.Run("after the lease, before anybody else got it", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		over := time.NewTimer(shortLease + 500*time.Millisecond)
		defer over.Stop()
		<-over.C
		ack(t, l.c, l.group, l.m, v2.Code_INVALID_RECEIPT_HANDLE)
	})
	t.Run("another group has its own copy", func(t *testing.T) {
		t.Parallel()
		l := lease(t, time.Minute)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
		other := l
		other.group = unique(t)
		if m := other.receive(t, time.Minute); attempt(m) != 1 {
			t.Errorf("the other group's first delivery has attempt %d", attempt(m))
		}
	})
}

// TestRawRedelivery says what a message that nobody acknowledged looks like when it comes back.
func TestRawRedelivery(t *testing.T) {
	t.Parallel()
	l := lease(t, shortLease)
	last := l.m
	for want := int32(2); want <= 4; want++ {
		start := time.Now()
		m := l.receive(t, shortLease)
		if attempt(m) != want {
			t.Fatalf("attempt %d, want %d", attempt(m), want)
		}
		if took := time.Since(start); took > shortLease+2*time.Second {
			t.Errorf("redelivered after %v with a lease of %v", took, shortLease)
		}
		a, b := proto.Clone(last).(*v2.Message), proto.Clone(m).(*v2.Message)
		for _, x := range []*v2.Message{a, b} {
			x.SystemProperties.ReceiptHandle, x.SystemProperties.DeliveryAttempt = nil, nil
		}
		if !proto.Equal(a, b) {
			t.Errorf("the message changed between attempts:\n%v\n%v", a, b)
		}
		last = m
	}
	ack(t, l.c, l.group, last, v2.Code_OK)
}

// TestRawChange says what changing the invisible duration does to the handles of a delivery.
func TestRawChange(t *testing.T) {
	t.Parallel()
	t.Run("longer holds longer, and both handles acknowledge", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		changed := l.change(t, l.m, time.Minute)
		l.gone(t)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
		ack(t, l.c, l.group, changed, v2.Code_OK)
	})
	t.Run("the newest handle acknowledges first", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		changed := l.change(t, l.change(t, l.m, 2*time.Second), time.Minute)
		l.gone(t)
		ack(t, l.c, l.group, changed, v2.Code_OK)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
	})
	t.Run("repeated with the first handle", func(t *testing.T) {
		t.Parallel()
		l := lease(t, shortLease)
		l.change(t, l.m, 2*time.Second)
		l.change(t, l.m, time.Minute)
		l.gone(t)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
	})
	t.Run("0 gives it back at once, counted", func(t *testing.T) {
		t.Parallel()
		l := lease(t, time.Minute)
		l.change(t, l.m, 0)
		again := l.receive(t, time.Minute)
		if attempt(again) != 2 {
			t.Errorf("attempt %d, want 2", attempt(again))
		}
		ack(t, l.c, l.group, l.m, v2.Code_INVALID_RECEIPT_HANDLE)
		ack(t, l.c, l.group, again, v2.Code_OK)
	})
	t.Run("shorter comes back sooner", func(t *testing.T) {
		t.Parallel()
		l := lease(t, time.Minute)
		l.change(t, l.m, shortLease)
		if again := l.receive(t, time.Minute); attempt(again) != 2 {
			t.Errorf("attempt %d, want 2", attempt(again))
		}
	})
	t.Run("suspend is not counted", func(t *testing.T) {
		t.Parallel()
		l := lease(t, time.Minute)
		ctx, cancel := l.c.Call(t.Context())
		defer cancel()
		resp, err := l.c.ChangeInvisibleDuration(ctx, &v2.ChangeInvisibleDurationRequest{
			Group: raw.Resource(l.group), Topic: raw.Resource(l.topic),
			ReceiptHandle: l.m.GetSystemProperties().GetReceiptHandle(),
			MessageId:     l.m.GetSystemProperties().GetMessageId(),
			Suspend:       proto.Bool(true), InvisibleDuration: durationpb.New(100 * time.Millisecond),
		})
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "suspend", resp.GetStatus(), v2.Code_OK)
		if again := l.receive(t, time.Minute); attempt(again) != 1 {
			t.Errorf("attempt %d, want 1", attempt(again))
		}
	})
	t.Run("after an acknowledgement nothing comes back", func(t *testing.T) {
		t.Parallel()
		l := lease(t, time.Minute)
		ack(t, l.c, l.group, l.m, v2.Code_OK)
		if _, err := l.c.Change(t.Context(), l.group, l.m, 0); err != nil {
			t.Fatal(err)
		}
		l.gone(t)
	})
}

// TestRawChangeLimits says which durations and names ChangeInvisibleDuration refuses.
func TestRawChangeLimits(t *testing.T) {
	t.Parallel()
	l := lease(t, time.Minute)
	cases := []struct {
		name string
		want v2.Code
		edit func(*v2.ChangeInvisibleDurationRequest)
	}{
		{"negative", v2.Code_ILLEGAL_INVISIBLE_TIME, func(r *v2.ChangeInvisibleDurationRequest) {
			r.InvisibleDuration = durationpb.New(-time.Millisecond)
		}},
		{"12 h and 1 ms", v2.Code_ILLEGAL_INVISIBLE_TIME, func(r *v2.ChangeInvisibleDurationRequest) {
			r.InvisibleDuration = durationpb.New(12*time.Hour + time.Millisecond)
		}},
		{"12 h", v2.Code_OK, func(r *v2.ChangeInvisibleDurationRequest) {
			r.InvisibleDuration = durationpb.New(12 * time.Hour)
		}},
		{"topic illegal", v2.Code_ILLEGAL_TOPIC, func(r *v2.ChangeInvisibleDurationRequest) {
			r.Topic = raw.Resource("a.b")
		}},
		{"group illegal", v2.Code_ILLEGAL_CONSUMER_GROUP, func(r *v2.ChangeInvisibleDurationRequest) {
			r.Group = raw.Resource("a.b")
		}},
		{"handle empty", v2.Code_INVALID_RECEIPT_HANDLE, func(r *v2.ChangeInvisibleDurationRequest) {
			r.ReceiptHandle = ""
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			req := &v2.ChangeInvisibleDurationRequest{
				Group: raw.Resource(l.group), Topic: raw.Resource(l.topic),
				ReceiptHandle:     l.m.GetSystemProperties().GetReceiptHandle(),
				MessageId:         l.m.GetSystemProperties().GetMessageId(),
				InvisibleDuration: durationpb.New(time.Minute),
			}
			tc.edit(req)
			ctx, cancel := l.c.Call(t.Context())
			defer cancel()
			resp, err := l.c.ChangeInvisibleDuration(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, "change", resp.GetStatus(), tc.want)
		})
	}
}

// TestRawAckLimits says what AckMessage refuses, and how the answers of a batch are told apart.
func TestRawAckLimits(t *testing.T) {
	t.Parallel()
	l := lease(t, time.Minute)
	entry := raw.Entry(l.m)
	t.Run("topic illegal", func(t *testing.T) {
		resp, err := l.c.Ack(t.Context(), l.group, "a.b", entry)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "ack", resp.GetStatus(), v2.Code_ILLEGAL_TOPIC)
	})
	t.Run("group illegal", func(t *testing.T) {
		resp, err := l.c.Ack(t.Context(), "a.b", l.topic, entry)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "ack", resp.GetStatus(), v2.Code_ILLEGAL_CONSUMER_GROUP)
	})
	t.Run("no entry is not OK", func(t *testing.T) {
		resp, err := l.c.Ack(t.Context(), l.group, l.topic)
		if err != nil {
			t.Fatal(err)
		}
		if code := resp.GetStatus().GetCode(); code == v2.Code_OK || code == v2.Code_CODE_UNSPECIFIED {
			t.Errorf("status %v", code)
		}
	})
	t.Run("batch of good and bad", func(t *testing.T) {
		send(t, l.c, raw.Message(l.topic, "second"))
		second := l.receive(t, time.Minute)
		bad := &v2.AckMessageEntry{MessageId: "nobody", ReceiptHandle: "nothing"}
		resp, err := l.c.Ack(t.Context(), l.group, l.topic, raw.Entry(l.m), bad, raw.Entry(second))
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "ack", resp.GetStatus(), v2.Code_MULTIPLE_RESULTS)
		want := []struct {
			id   string
			code v2.Code
		}{
			{l.m.GetSystemProperties().GetMessageId(), v2.Code_OK},
			{"nobody", v2.Code_INVALID_RECEIPT_HANDLE},
			{second.GetSystemProperties().GetMessageId(), v2.Code_OK},
		}
		if len(resp.GetEntries()) != len(want) {
			t.Fatalf("%d entries, want %d", len(resp.GetEntries()), len(want))
		}
		for i, w := range want {
			e := resp.GetEntries()[i]
			if e.GetMessageId() != w.id || e.GetStatus().GetCode() != w.code {
				t.Errorf("entry %d: %q %v, want %q %v", i, e.GetMessageId(), e.GetStatus().GetCode(), w.id, w.code)
			}
		}
	})
}

// TestRawHandles says that a handle is worth nothing outside the topic, group and cluster it was made for, and that
// nobody can make one.
func TestRawHandles(t *testing.T) {
	t.Parallel()
	l := lease(t, time.Minute)
	good := l.m.GetSystemProperties().GetReceiptHandle()
	for name, handle := range mangled(good) {
		t.Run(name, func(t *testing.T) { wantRefused(t, l, l.group, l.topic, handle) })
	}
	t.Run("other topic", func(t *testing.T) { wantRefused(t, l, l.group, newTopic(t, "normal"), good) })
	t.Run("other group", func(t *testing.T) {
		other := unique(t)
		receive(t, l.c, raw.Receive{Group: other, Topic: l.topic, Invisible: time.Minute})
		wantRefused(t, l, other, l.topic, good)
	})
	t.Run("group that does not exist", func(t *testing.T) { wantRefused(t, l, unique(t), l.topic, good) })
	t.Run("other cluster", func(t *testing.T) {
		far, err := server.Start(t.Context(), server.Spec{Bin: bin, Role: "standalone", Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer far.Kill()
		if out, err := server.Run(t.Context(), bin, "topic", "create", l.topic, "--type", "normal",
			"--server", far.Addr); err != nil {
			t.Fatal(err, out)
		}
		abroad := l
		abroad.c = dialTo(t, far.Addr, false)
		send(t, abroad.c, raw.Message(l.topic, "abroad"))
		m := abroad.receive(t, time.Minute)
		wantRefused(t, abroad, l.group, l.topic, good)
		wantRefused(t, l, l.group, l.topic, m.GetSystemProperties().GetReceiptHandle())
	})
	t.Run("none of it changed anything", func(t *testing.T) { ack(t, l.c, l.group, l.m, v2.Code_OK) })
}

func mangled(good string) map[string]string {
	cases := map[string]string{
		"empty":        "",
		"word":         "handle",
		"not base64":   "§§§ " + good,
		"twice":        good + good,
		"huge":         strings.Repeat("A", 1<<20),
		"first half":   good[:len(good)/2],
		"last missing": good[:len(good)-2],
	}
	encoding := base64.RawURLEncoding
	bytes, err := encoding.DecodeString(strings.TrimRight(good, "="))
	if err != nil {
		// Not base64url: then single characters are flipped.
		bytes, encoding = []byte(good), nil
	}
	for _, at := range []int{0, 1, 2, 7, len(bytes) / 3, len(bytes) / 2, len(bytes) - 9, len(bytes) - 1} {
		forged := append([]byte(nil), bytes...)
		forged[at] ^= 1
		if encoding == nil {
			cases[fmt.Sprintf("character %d flipped", at)] = string(forged)
			continue
		}
		cases[fmt.Sprintf("byte %d flipped", at)] = encoding.EncodeToString(forged)
	}
	return cases
}

func wantRefused(t *testing.T, l leased, group, topic, handle string) {
	t.Helper()
	forged := proto.Clone(l.m).(*v2.Message)
	forged.Topic = raw.Resource(topic)
	forged.SystemProperties.ReceiptHandle = proto.String(handle)
	ack(t, l.c, group, forged, v2.Code_INVALID_RECEIPT_HANDLE)
	resp, err := l.c.Change(t.Context(), group, forged, 0)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "change invisible duration", resp.GetStatus(), v2.Code_INVALID_RECEIPT_HANDLE)
	ctx, cancel := l.c.Call(t.Context())
	defer cancel()
	dead, err := l.c.ForwardMessageToDeadLetterQueue(ctx, forwardRequest(group, forged))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "forward", dead.GetStatus(), v2.Code_INVALID_RECEIPT_HANDLE)
}
