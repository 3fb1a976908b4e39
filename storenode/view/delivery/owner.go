// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// own gives the slot to the owner at index oi.
func (d *Deliveries) own(p *pair, s *slab, j uint64, oi uint32) {
	s.flags[j] |= flagOwned
	s.owner[j] = oi
	p.owners[oi].leases++
}

// disown lets the slot's own due alone count from now on.
func (d *Deliveries) disown(p *pair, s *slab, j uint64) {
	if s.flags[j]&flagOwned == 0 {
		return
	}
	oi := s.owner[j]
	s.flags[j] &^= flagOwned
	s.owner[j] = 0
	d.release(p, oi)
}

// release takes one lease from the owner. An owner without leases is forgotten:
// there is nothing that a sign of life could renew.
func (d *Deliveries) release(p *pair, oi uint32) {
	o := &p.owners[oi]
	o.leases--
	if o.leases > 0 {
		return
	}
	pairs := d.byOwner[o.id]
	pairs = slices.Delete(pairs, slices.Index(pairs, p), slices.Index(pairs, p)+1)
	if len(pairs) == 0 {
		delete(d.byOwner, o.id)
	} else {
		d.byOwner[o.id] = pairs
	}
	delete(p.ownerOf, o.id)
	*o = owner{}
	p.freeOwners = append(p.freeOwners, oi)
}

// intern returns the index of the owner, made now if it is new.
func (d *Deliveries) intern(p *pair, id string) uint32 {
	if oi, ok := p.ownerOf[id]; ok {
		return oi
	}
	var oi uint32
	if n := len(p.freeOwners); n > 0 {
		oi = p.freeOwners[n-1]
		p.freeOwners = p.freeOwners[:n-1]
	} else {
		oi = uint32(len(p.owners)) //nolint:gosec // at most one owner a lease
		p.owners = append(p.owners, owner{})
	}
	p.owners[oi].id = id
	p.ownerOf[id] = oi
	d.byOwner[id] = append(d.byOwner[id], p)
	return oi
}

// ApplyRenew applies signs of life: each keeps all leases that the client owns
// in that group and topic until the entry's time + TTL. A termination is the
// last one: it leaves leases that end earlier as they are, lets the others end
// by its TTL (never below TerminatedTTLMS) or their own due, and makes the
// client's further signs void until it receives again.
func (d *Deliveries) ApplyRenew(h *record.Header, b *record.Renew) {
	d.enter(h.TimeMS)
	for i := range b.Items {
		it := &b.Items[i]
		p := d.pairs[Key{it.Group, it.Topic}]
		if p == nil {
			continue
		}
		oi, ok := p.ownerOf[it.Owner]
		if !ok || p.owners[oi].terminated {
			continue
		}
		o := &p.owners[oi]
		if it.Terminated {
			o.terminated = true
			o.untilMS = min(o.untilMS, later(h.TimeMS, max(it.TTLMS, TerminatedTTLMS)))
		} else {
			o.untilMS = max(o.untilMS, later(h.TimeMS, it.TTLMS))
		}
	}
}

// ApplyTermStart gives owners who were alive when the last leader wrote its
// last entry, at prevTimeMS, time to make themselves known to the new one: a
// change of leader redelivers nothing of theirs, and revives nothing.
func (d *Deliveries) ApplyTermStart(h *record.Header, prevTimeMS int64) {
	d.enter(h.TimeMS)
	for _, p := range d.pairs { // each owner is changed by itself: the order does not matter
		for i := range p.owners {
			o := &p.owners[i]
			if o.leases > 0 && !o.terminated && o.untilMS >= prevTimeMS {
				o.untilMS = max(o.untilMS, h.TimeMS+OwnerTTLMS)
			}
		}
	}
}

// AppendRenewals appends, for every group and topic in which the client owns a
// lease that its sign of life can renew, the item of a Renew entry. A group of
// 0 means all groups. The order is that of group and topic ids.
func (d *Deliveries) AppendRenewals(dst []record.RenewItem, group ident.Group, item record.RenewItem) []record.RenewItem {
	from := len(dst)
	for _, p := range d.byOwner[item.Owner] {
		if group != 0 && p.key.Group != group || p.owners[p.ownerOf[item.Owner]].terminated {
			continue
		}
		item.Group, item.Topic = p.key.Group, p.key.Topic
		dst = append(dst, item)
	}
	slices.SortFunc(dst[from:], func(a, b record.RenewItem) int {
		return compareKeys(Key{a.Group, a.Topic}, Key{b.Group, b.Topic})
	})
	return dst
}
