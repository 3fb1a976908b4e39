// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

const (
	// renewEveryMS is how often signs of life become an entry: one for all.
	renewEveryMS = 10_000
	// signsMax bounds the clients whose signs wait for that entry.
	signsMax = 1 << 18
)

type memberID struct {
	group  ident.Group
	client string
}

// alive takes note of signs of life. Those of owners of leases become part of
// the next Renew entry; a farewell is logged at once. It is Invalid if there was a client
// whose id is too long; the others are heard all the same.
func (s *Shard) alive(r *storeapi.Alive) (code storeapi.Code) {
	now := s.reading.Mono
	for i := range r.Signs {
		sign := &r.Signs[i]
		if len(sign.Client) > clientBytesMax {
			code = storeapi.Invalid
			continue
		}
		if sign.Terminated {
			items := s.views.deliveries.AppendRenewals(nil, sign.Group, record.RenewItem{
				Owner: sign.Client, TTLMS: delivery.TerminatedTTLMS, Terminated: true,
			})
			if s.innerRoom(len(items) * renewedBytes) { // else its leases run out by themselves
				s.renew(items)
			}
			delete(s.signs, memberID{sign.Group, sign.Client})
			continue
		}
		if sign.Unknown || len(sign.Subscriptions) == 0 {
			s.subscriptions.Alive(sign.Group, sign.Client, now)
		}
		for j := range sign.Subscriptions {
			sub := &sign.Subscriptions[j]
			s.subscriptions.Subscribed(delivery.Key{Group: sign.Group, Topic: sub.Topic}, sign.Client, filterOf(&sub.Filter), now)
		}
		if len(s.signs) < signsMax {
			s.signs[memberID{sign.Group, sign.Client}] = struct{}{}
		}
	}
	return code
}

// renewDue logs the signs of life that came since the last time.
func (s *Shard) renewDue(monoMS int64) {
	if len(s.signs) == 0 || monoMS-s.renewedMS < renewEveryMS || !s.innerRoom(len(s.signs)*renewedBytes) {
		return
	}
	s.renewedMS = monoMS
	var items []record.RenewItem
	for id := range s.signs {
		items = s.views.deliveries.AppendRenewals(items, id.group, record.RenewItem{Owner: id.client, TTLMS: delivery.OwnerTTLMS})
	}
	clear(s.signs)
	s.renew(items)
}

// renewBytesMax bounds one Renew entry.
const renewBytesMax = 256 << 10

// renew logs signs of life, in as many entries as they need.
func (s *Shard) renew(items []record.RenewItem) {
	for len(items) > 0 {
		n := s.renewable(items)
		body := record.Renew{Items: items[:n]}
		s.scratch = body.Append(s.scratch[:0])
		s.put(record.TypeRenew, waiter{}, s.scratch)
		items = items[n:]
	}
}

// renewable is how many of the signs one entry takes, at least one.
func (s *Shard) renewable(items []record.RenewItem) int {
	size := renewedBytes // the head
	for i := range items {
		size += renewedBytes - clientBytesMax + len(items[i].Owner)
		if i > 0 && (size > renewBytesMax || !s.fits(size)) {
			return i
		}
	}
	return len(items)
}
