// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic))
}

// ApplyGroupConfig makes the group known, or changes what is known of it. The
// caller ignores configurations older than the newest it applied.
func (d *Deliveries) ApplyGroupConfig(group ident.Group, config GroupConfig) {
	d.groups[group] = config
	for k, p := range d.pairs { // each pair is changed by itself: the order does not matter
		if k.Group == group && p.config != config {
			p.config = config
			d.reconsider(p)
		}
	}
}

// DropGroup forgets the group and all its state; nothing of it comes back.
func (d *Deliveries) DropGroup(group ident.Group) {
	delete(d.groups, group)
	for k, p := range d.pairs { // each pair goes by itself: the order does not matter
		if k.Group == group {
			d.dropPair(p)
		}
	}
}

// DropTopic forgets all state of all groups about the topic.
func (d *Deliveries) DropTopic(topic ident.Topic) {
	for _, p := range slices.Clone(d.byTopic[topic]) {
		d.dropPair(p)
	}
}

func (d *Deliveries) dropPair(p *pair) {
	d.clearQueues(p)
	delete(d.pairs, p.key)
	rest := slices.DeleteFunc(d.byTopic[p.key.Topic], func(o *pair) bool { return o == p })
	if len(rest) == 0 {
		delete(d.byTopic, p.key.Topic)
	} else {
		d.byTopic[p.key.Topic] = rest
	}
	d.dropped++
	if p.awake {
		d.woken = slices.DeleteFunc(d.woken, func(o *pair) bool { return o == p })
	}
}

// ApplyStart sets where the group begins in the topic's queues. It counts only
// as long as the group has received nothing from the topic.
func (d *Deliveries) ApplyStart(k Key, start Start) {
	p := d.open(k)
	if p == nil || p.generation != 0 || len(p.order) > 0 {
		return
	}
	p.start = start
	d.wake(p)
}

// ApplyReset begins the new generation: what was in flight, and every position,
// is forgotten, and the group begins anew as the entry says. LATEST means: from
// the entry's time on. It reports whether the entry was newer than the state.
func (d *Deliveries) ApplyReset(h *record.Header, b *record.GroupReset) bool {
	d.enter(h.TimeMS)
	p := d.open(Key{b.Group, b.Topic})
	if p == nil || b.Generation <= p.generation {
		return false
	}
	d.clearQueues(p)
	p.generation = b.Generation
	p.start = Start{Kind: b.Kind, TimeMS: b.TimeMS}
	if b.Kind == record.StartLatest {
		p.start.TimeMS = h.TimeMS
	}
	d.wake(p)
	return true
}

// ApplyOffsetCommit keeps the positions of consumers that keep offsets. Inside
// a generation a position never goes back.
func (d *Deliveries) ApplyOffsetCommit(h *record.Header, b *record.OffsetCommit) {
	d.enter(h.TimeMS)
	for i := range b.Items {
		it := &b.Items[i]
		k := Key{it.Group, it.Topic}
		if _, known := d.pairs[k]; !known && it.Generation != 0 {
			continue
		}
		if p := d.open(k); p != nil && p.generation == it.Generation {
			p.committed[it.Queue] = max(p.committed[it.Queue], it.Offset)
		}
	}
}

// ApplyDeadLetter marks the offset done iff the entry's delivery still is its
// current one; for exhausted attempts, iff it is due and has no attempt left,
// too. It reports whether it did: only then the copy gets its place in the
// dead-letter topic.
func (d *Deliveries) ApplyDeadLetter(h *record.Header, b *record.DeadLetter) bool {
	d.enter(h.TimeMS)
	p := d.pairs[Key{b.Group, b.Topic}]
	if p == nil || p.generation != b.Generation {
		return false
	}
	q := d.queueOf(p, b.Queue)
	if q == nil || uint64(b.Offset) >= q.next {
		return false
	}
	id, c := d.chunkOf(q, uint64(b.Offset))
	if c == nil {
		return false
	}
	i := uint64(b.Offset) - c.base
	if c.live>>i&1 == 0 {
		return false
	}
	s, j := d.slotOf(c, i)
	valid := d.grants.at(s.grant[j]).lsn == b.Grant
	if b.Reason == record.ReasonAttempts {
		valid = valid && d.effectiveMS(p, s, j) <= h.TimeMS && p.exhausted(s, j)
		d.unpromise(q, id, c, 1<<i)
	}
	if !valid {
		return false
	}
	p.totals.DeadLettered += d.finish(q, id, c, 1<<i)
	return true
}

// ApplyTrim marks everything below minimum done, in every group of the topic:
// what nobody had settled by then has expired.
func (d *Deliveries) ApplyTrim(topic ident.Topic, queue ident.Queue, minimum ident.Offset) {
	for _, p := range d.byTopic[topic] {
		q := d.queueOf(p, queue)
		if q == nil {
			continue
		}
		limit := uint64(minimum)
		for len(q.chunks) > 0 {
			id := q.chunks[0].id
			c := d.chunks.at(id)
			gone := c.below(min(limit, q.next)) &^ c.done
			if gone == 0 {
				break
			}
			left := len(q.chunks)
			p.totals.Expired += d.finish(q, id, c, gone)
			if len(q.chunks) == left {
				break // the chunk that holds the new minimum
			}
		}
		p.totals.Expired += d.fill(q, limit, true)
	}
}

// ApplyTimeShift moves every due by deltaMS: the shard's clock was set.
func (d *Deliveries) ApplyTimeShift(h *record.Header, deltaMS int64) {
	d.epochMS += deltaMS
	for _, page := range d.grants.pages {
		for i := range page {
			if page[i].slots > 0 {
				page[i].timeMS += deltaMS
			}
		}
	}
	for _, p := range d.pairs { // each owner is changed by itself: the order does not matter
		for i := range p.owners {
			if p.owners[i].leases > 0 {
				p.owners[i].untilMS += deltaMS
			}
		}
		d.reconsider(p)
	}
	d.enter(h.TimeMS)
}
