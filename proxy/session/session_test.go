// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

func tags(t ...string) storeapi.Filter { return storeapi.Filter{Kind: storeapi.FilterTags, Tags: t} }

func TestExpiry(t *testing.T) {
	r := New(0)
	expiry := ExpiryTime.Milliseconds()
	r.Touch("quiet", "GO", 1000)
	r.Touch("heard", "GO", 1000)
	stream := r.Touch("streaming", "GO", 1000).Open()
	r.Touch("heard", "GO", 2000)
	if n := r.Sweep(1000 + expiry); n != 0 {
		t.Errorf("%d forgotten at the last moment", n)
	}
	if n := r.Sweep(1001 + expiry); n != 1 || r.Find("quiet") != nil || r.Len() != 2 {
		t.Errorf("%d forgotten, %d left", n, r.Len())
	}
	if r.Sweep(2001+expiry) != 1 || r.Find("streaming") == nil {
		t.Error("an open stream is no sign of life")
	}
	stream.Close(5000)
	if r.Sweep(5000+expiry) != 0 || r.Sweep(5001+expiry) != 1 || r.Len() != 0 {
		t.Error("a closed stream does not count from its end")
	}
}

func TestBounds(t *testing.T) {
	r := New(2)
	for i := range 5 {
		c := r.Touch(strconv.Itoa(i), strings.Repeat("x", 100), 1)
		if len(c.Language) != languageBytesMax {
			t.Errorf("language of %d bytes", len(c.Language))
		}
		c.Joined("g")
	}
	if r.Len() != 2 || r.Find("4") != nil || r.Refused() != 3 {
		t.Errorf("%d clients remembered, %d refused, want 2 and 3", r.Len(), r.Refused())
	}
	r.Remove("0")
	if r.Len() != 1 {
		t.Errorf("%d clients remembered, want 1", r.Len())
	}
	if r.Remove("unknown") != nil {
		t.Error("a client that nobody knows was removed")
	}
}

// TestRoom says that who consumes takes the place of who does not.
func TestRoom(t *testing.T) {
	const limit = 32 * Parts
	r := New(limit)
	for i := range limit {
		c := r.Touch(fmt.Sprint("stranger", i), "GO", 1)
		switch i % 50 {
		case 0:
			c.Joined("g")
		case 1:
			c.Hold()
		}
	}
	for i := range limit / 2 {
		r.Touch(fmt.Sprint("consumer", i), "GO", 2).Joined("g")
	}
	consumers := 0
	for i := range limit {
		if r.Find(fmt.Sprint("consumer", i)) != nil {
			consumers++
		}
		if c := r.Find(fmt.Sprint("stranger", i)); i%50 < 2 && c == nil {
			t.Errorf("client %d was forgotten although it consumes", i)
		}
	}
	if r.Len() != limit || uint64(consumers)+r.Refused() != limit/2 || r.Refused() > limit/20 {
		t.Errorf("%d clients, %d of %d consumers, %d refused", r.Len(), consumers, limit/2, r.Refused())
	}
	c := r.Touch("idle", "GO", 3)
	r.Forget(c)
	r.Forget(r.Touch("consumer1", "GO", 3))
	if r.Find("idle") != nil || r.Find("consumer1") == nil {
		t.Error("an idle client is remembered, or one that consumes is not")
	}
}

// TestForgetShared says that a client is not forgotten for one call that was
// refused when another one has it, too.
func TestForgetShared(t *testing.T) {
	r := New(0)
	c := r.Touch("c", "GO", 1)
	r.Touch("c", "GO", 1)
	r.Forget(c)
	if r.Find("c") != c {
		t.Error("a client that another call has is forgotten")
	}
}

// TestBytes says that what all clients together consume has a bound, and that
// nothing of it stays behind.
func TestBytes(t *testing.T) {
	const clients = 500
	r := New(0)
	full := make([]Subscription, SubscriptionsMax)
	for i := range full {
		full[i] = Subscription{Topic: strings.Repeat("t", 120) + strconv.Itoa(i)}
	}
	for i := range clients {
		c := r.Touch(strconv.Itoa(i), "GO", 1)
		if !c.Consumes("g", full) {
			t.Fatal("consuming is no news")
		}
		if m := c.Memberships()[0]; len(m.Subscriptions) < SubscriptionsMax && !m.Unknown {
			t.Fatalf("%d subscriptions and no more", len(m.Subscriptions))
		}
	}
	first, last := r.Find("0"), r.Find(strconv.Itoa(clients-1))
	if n := r.Bytes(); n > bytesMax+clients*256 || n < bytesMax/2 || len(last.Memberships()[0].Subscriptions) > 0 {
		t.Errorf("%d bytes", n)
	}
	if last.Consumes("g", full) {
		t.Error("what does not fit is news each time")
	}
	first.Consumes("g", full[:1])
	r.Remove("1")
	last.Consumes("g", full)
	if len(last.Memberships()[0].Subscriptions) == 0 {
		t.Error("what became free is not used")
	}
	r.Remove("0")
	first.Consumes("g", full)
	if r.Sweep(1<<40) != clients-2 || r.Bytes() != 0 {
		t.Errorf("%d bytes left behind", r.Bytes())
	}
}

// TestManyEntries says that of very many entries only the first are looked at.
func TestManyEntries(t *testing.T) {
	var many []Subscription
	for i := range 200_000 {
		many = append(many, Subscription{Topic: fmt.Sprint("t", i%1000), Filter: tags(strconv.Itoa(i / 1000))})
	}
	c := New(0).Touch("c", "GO", 1)
	c.Consumes("g", many)
	if m := c.Memberships()[0]; !m.Unknown || len(m.Subscriptions) != 1000 || m.Subscriptions[0].Filter.Tags[0] != "1" {
		t.Errorf("%d subscriptions, unknown %v, first filter %v", len(m.Subscriptions), m.Unknown, m.Subscriptions[0].Filter)
	}
}

// TestChurn says that many clients that come and go leave nothing behind.
func TestChurn(t *testing.T) {
	r := New(0)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 20_000 {
				id := fmt.Sprintf("%d-%d", w, i%500)
				c := r.Touch(id, "GO", int64(i))
				c.Receives("g", Subscription{Topic: "t"})
				if i%3 == 0 {
					r.Remove(id)
				}
				if i%1000 == 0 {
					r.Sweep(int64(i))
				}
			}
		})
	}
	all.Wait()
	n := 0
	for i := range Parts {
		r.Each(i, func(*Client) { n++ })
	}
	if n != r.Len() {
		t.Errorf("%d clients, %d counted", n, r.Len())
	}
	r.Sweep(1 << 40)
	if r.Len() != 0 {
		t.Errorf("%d clients left behind", r.Len())
	}
}

func TestMemberships(t *testing.T) {
	c := New(0).Touch("c", "GO", 1)
	if !c.Joined("g") || c.Joined("g") {
		t.Error("joining is news once")
	}
	want := []Membership{{Group: "g", Unknown: true}}
	check := func(step string) {
		t.Helper()
		if diff := cmp.Diff(want, c.Memberships()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	check("joined")
	if !c.Receives("g", Subscription{"t2", tags("a")}) || c.Receives("g", Subscription{"t2", tags("a")}) {
		t.Error("a filter is news once")
	}
	want = []Membership{{Group: "g", Subscriptions: []Subscription{{"t2", tags("a")}}}}
	check("received")
	before := c.Memberships()
	c.Receives("g", Subscription{"t1", storeapi.Filter{}})
	c.Receives("g", Subscription{"t2", tags("b")})
	if before[0].Subscriptions[0].Filter.Tags[0] != "a" || len(before[0].Subscriptions) != 1 {
		t.Error("a copy changed")
	}
	want[0].Subscriptions = []Subscription{{"t1", storeapi.Filter{}}, {"t2", tags("b")}}
	check("received more")
	if !c.Consumes("g", []Subscription{{"t3", tags("c")}}) || c.Consumes("g", []Subscription{{"t3", tags("c")}}) {
		t.Error("settings are news once")
	}
	want[0].Subscriptions = []Subscription{{"t3", tags("c")}}
	check("settings replace")
	c.Consumes("g", nil)
	want[0] = Membership{Group: "g", Unknown: true}
	check("settings without subscriptions")
	c.SetKind(pb.ClientType_PUSH_CONSUMER)
	if c.Kind() != pb.ClientType_PUSH_CONSUMER {
		t.Errorf("kind %v", c.Kind())
	}
}

func TestMembershipBounds(t *testing.T) {
	c := New(0).Touch("c", "GO", 1)
	for i := range groupsMax + 5 {
		c.Receives(fmt.Sprint("g", i), Subscription{Topic: "t"})
		c.Joined(fmt.Sprint("h", i))
		c.Consumes(fmt.Sprint("i", i), nil)
	}
	if n := len(c.Memberships()); n != groupsMax {
		t.Errorf("%d groups, want %d", n, groupsMax)
	}
	c = New(0).Touch("c", "GO", 1)
	for i := range SubscriptionsMax + 5 {
		c.Receives("g", Subscription{Topic: fmt.Sprint("t", i)})
	}
	if m := c.Memberships()[0]; len(m.Subscriptions) != SubscriptionsMax || !m.Unknown {
		t.Errorf("%d subscriptions, unknown %v", len(m.Subscriptions), m.Unknown)
	}
	c = New(0).Touch("c", "GO", 1)
	long := tags(strings.Repeat("x", filterBytesMax/2))
	c.Consumes("g", []Subscription{{"t1", long}, {"t2", long}, {"t3", long}})
	if m := c.Memberships()[0]; len(m.Subscriptions) != 2 || !m.Unknown {
		t.Errorf("%d subscriptions, unknown %v", len(m.Subscriptions), m.Unknown)
	}
}

func TestCommands(t *testing.T) {
	c := New(0).Touch("c", "GO", 1)
	cmd := &pb.TelemetryCommand{}
	if c.Command(cmd) {
		t.Error("a command without a stream was taken")
	}
	older, newer := c.Open(), c.Open()
	for range commandsMax {
		if !c.Command(cmd) {
			t.Fatal("a command was refused")
		}
	}
	if len(newer.Commands()) != commandsMax || len(older.Commands()) != 0 {
		t.Error("the newest stream does not come first")
	}
	for range commandsMax {
		c.Command(cmd)
	}
	if c.Command(cmd) {
		t.Error("commands for clients that do not read have no bound")
	}
	newer.Close(1)
	older.Close(1)
	if c.Command(cmd) {
		t.Error("a closed stream took a command")
	}
}

func BenchmarkTouch(b *testing.B) {
	r := New(0)
	b.ReportAllocs()
	for b.Loop() {
		r.Touch("host@123@1@abc", "GO", 1)
	}
}
