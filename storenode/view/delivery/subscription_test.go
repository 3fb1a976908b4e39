// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
)

func TestAudience(t *testing.T) {
	const led = 1_000_000
	k := Key{1, 2}
	a, b := hashFilter(10), hashFilter(20, 30)
	s := NewSubscriptions(led)
	if s.Audience(k, led+SubscriptionTTLMS).MaySkip {
		t.Fatal("may skip though nobody was heard")
	}
	s.Subscribed(k, "anna", a, led)
	s.Subscribed(k, "bert", b, led)
	at := s.Audience(k, led+SubscriptionTTLMS-1)
	if at.MaySkip || !at.Wants(10) || !at.Wants(20) || !at.Wants(30) || at.Wants(40) {
		t.Fatalf("%+v", at)
	}
	s.Subscribed(k, "anna", a, led+SubscriptionTTLMS-1)
	s.Alive(1, "bert", led+SubscriptionTTLMS-1)
	at = s.Audience(k, led+SubscriptionTTLMS)
	if !at.MaySkip || !at.Wants(30) {
		t.Fatalf("%+v", at)
	}
	if again := s.Audience(k, led+SubscriptionTTLMS+1); again.Version != at.Version {
		t.Fatal("another version of the same audience")
	}
	s.Subscribed(k, "bert", a, led+SubscriptionTTLMS+2)
	changed := s.Audience(k, led+SubscriptionTTLMS+2)
	if changed.Wants(20) || changed.Version == at.Version {
		t.Fatalf("a subscription that changed its filter: %+v", changed)
	}
	if !at.Wants(20) {
		t.Fatal("an audience that was taken before changed")
	}
}

func TestUnknownMemberKeepsFromSkipping(t *testing.T) {
	k := Key{1, 2}
	s := NewSubscriptions(0)
	now := int64(SubscriptionTTLMS)
	s.Subscribed(k, "anna", hashFilter(1), now)
	s.Alive(1, "bert", now)
	if s.Audience(k, now).MaySkip {
		t.Fatal("may skip though bert's subscription is unknown")
	}
	s.Subscribed(Key{1, 3}, "bert", Filter{}, now)
	if !s.Audience(k, now).MaySkip {
		t.Fatal("bert is known, to another topic")
	}
	s.Alive(1, "carl", now)
	now += SubscriptionTTLMS - 1
	s.Alive(1, "anna", now)
	if s.Audience(k, now).MaySkip {
		t.Fatal("carl is remembered for two minutes")
	}
	now++
	if at := s.Audience(k, now); !at.MaySkip || !at.Wants(1) {
		t.Fatalf("%+v", at)
	}
}

func TestSilentSubscriptionsGo(t *testing.T) {
	k := Key{1, 2}
	s := NewSubscriptions(0)
	now := int64(SubscriptionTTLMS)
	s.Subscribed(k, "anna", hashFilter(1), now)
	s.Subscribed(k, "bert", hashFilter(2), now+10_000)
	before := s.Audience(k, now)
	after := s.Audience(k, now+SubscriptionTTLMS)
	if after.Wants(1) || !after.Wants(2) || after.Version == before.Version {
		t.Fatalf("%+v", after)
	}
	s.Sweep(now + 10_000 + SubscriptionTTLMS)
	if len(s.groups) != 0 || s.members != 0 {
		t.Fatalf("%d groups, %d members", len(s.groups), s.members)
	}
}

// A client that lives on does not keep a subscription that it no longer names.
func TestSubscriptionNoLongerNamedGoes(t *testing.T) {
	a, b := Key{1, 2}, Key{1, 3}
	s := NewSubscriptions(0)
	s.Subscribed(a, "anna", hashFilter(1), 0)
	s.Subscribed(b, "anna", hashFilter(2), 0)
	s.Alive(1, "anna", 10_000) // names none: both stand
	s.Subscribed(b, "anna", hashFilter(2), SubscriptionTTLMS)
	if !s.Audience(a, SubscriptionTTLMS+9_999).Wants(1) {
		t.Fatal("gone too early")
	}
	s.Subscribed(a, "bert", hashFilter(7), SubscriptionTTLMS+10_000)
	if at := s.Audience(a, SubscriptionTTLMS+10_000); at.Wants(1) || !at.MaySkip {
		t.Fatalf("%+v", at)
	}
	if !s.Audience(b, SubscriptionTTLMS+10_000).Wants(2) {
		t.Fatal("the one that is named went too")
	}
}

func TestTooManyMembers(t *testing.T) {
	k := Key{1, 2}
	s := NewSubscriptions(0)
	now := int64(SubscriptionTTLMS)
	s.Subscribed(k, "anna", hashFilter(1), now)
	s.members = membersMax
	s.Subscribed(k, "bert", hashFilter(2), now)
	if s.Audience(k, now).MaySkip {
		t.Fatal("may skip though bert was refused")
	}
	s.Subscribed(k, "anna", hashFilter(1), now+SubscriptionTTLMS-1)
	if !s.Audience(k, now+SubscriptionTTLMS).MaySkip {
		t.Fatal("bert fell silent, or was heard, since")
	}
}

func TestFilter(t *testing.T) {
	if f := hashFilter(); !f.All() || f.Key() != 0 || !f.Wants(1) {
		t.Fatal("no tags means all messages")
	}
	if hashFilter(3, 1, 2, 3).Key() != hashFilter(1, 2, 3).Key() || hashFilter(1).Key() == hashFilter(2).Key() {
		t.Fatal("keys do not tell filters apart by what they want")
	}
	f := hashFilter(7, 5)
	for tag, want := range map[uint32]bool{5: true, 7: true, 6: false, 0: false} {
		if f.Wants(tag) != want {
			t.Fatalf("wants %d: %v", tag, !want)
		}
	}
}

func BenchmarkAudience(b *testing.B) {
	s := NewSubscriptions(0)
	for i := range 10_000 {
		s.Subscribed(Key{1, 2}, string(rune(i)), hashFilter(uint32(i%3)), SubscriptionTTLMS)
	}
	now := int64(SubscriptionTTLMS)
	for b.Loop() {
		now++
		s.Alive(ident.Group(1), "a", now)
		if s.Audience(Key{1, 2}, now%1000+SubscriptionTTLMS).Wants(77) {
			b.Fatal("wanted")
		}
	}
}
