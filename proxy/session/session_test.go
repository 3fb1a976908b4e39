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
		if c := r.Touch(strconv.Itoa(i), strings.Repeat("x", 100), 1); len(c.Language) != languageBytesMax {
			t.Errorf("language of %d bytes", len(c.Language))
		}
	}
	if r.Len() != 2 || r.Find("4") != nil {
		t.Errorf("%d clients remembered, want 2", r.Len())
	}
	r.Remove("0")
	if r.Len() != 1 {
		t.Errorf("%d clients remembered, want 1", r.Len())
	}
	if r.Remove("unknown") != nil {
		t.Error("a client that nobody knows was removed")
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
	for i := range subscriptionsMax + 5 {
		c.Receives("g", Subscription{Topic: fmt.Sprint("t", i)})
	}
	if m := c.Memberships()[0]; len(m.Subscriptions) != subscriptionsMax || !m.Unknown {
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
