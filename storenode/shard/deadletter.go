// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

const (
	// buryingMax bounds the bodies that are being read for the dead letters.
	buryingMax = 64
	// buryAgainMS is when a message that could not be read is tried again.
	buryAgainMS = 1_000
)

// deadLetter names a delivery that goes to its group's dead letters.
type deadLetter struct {
	group      ident.Group
	topic      ident.Topic
	generation ident.Generation
	queue      ident.Queue
	offset     ident.Offset
	grant      ident.LSN
	reason     record.Reason
	attempts   int
}

var errTooLarge = errors.New("the copy is larger than a segment")

var errNoRoom = fault.E("bury", fault.DiskFull, errors.New("no room on the disk"))

var errNoGrave = errors.New("the group has no dead-letter topic")

// sweepExhausted dead-letters what has been delivered too often, whether or not
// anybody polls.
func (s *Shard) sweepExhausted() {
	if s.burying >= buryingMax || !s.innerRoom(0) {
		return
	}
	s.exhausted = s.selector.Exhausted(s.exhausted[:0], s.tail.timeMS, buryingMax-s.burying)
	for _, x := range s.exhausted {
		s.bury(deadLetter{
			group: x.Key.Group, topic: x.Key.Topic, generation: x.Generation, queue: x.Queue, offset: x.Offset,
			grant: x.Grant, reason: record.ReasonAttempts, attempts: x.Attempts,
		}, waiter{})
	}
}

// bury reads the message and comes back to log its copy.
func (s *Shard) bury(d deadLetter, w waiter) {
	s.burying++
	at, _ := s.views.queues.Active(d.topic, d.queue, d.offset)
	origin, term := s.views.topics[d.topic].GetName(), s.tail.term
	topic, queue := s.graveOf(d.group)
	s.read(func() {
		m, err := s.stored(d.topic, d.queue, d.offset, at)
		if err != nil {
			s.unreadable(err)
			s.later(func() { s.buryFailed(d, w, err) })
			return
		}
		if topic == 0 {
			s.later(func() { s.buryFailed(d, w, fault.E("bury", fault.Internal, errNoGrave)) })
			return
		}
		payload := message.DeadCopy(m.payload, topic, queue, origin)
		s.later(func() { s.putDeadLetter(d, w, payload, term) })
	})
}

// graveOf is where a group's dead letters go on this shard: the queue with the
// shard's rank in the topic's list, or the shard's own until it is in the list.
func (s *Shard) graveOf(g ident.Group) (ident.Topic, ident.Queue) {
	topic := ident.Topic(s.views.groups[g].GetDeadLetterTopic())
	t := s.views.topics[topic]
	if t == nil {
		if c, ok := s.o.Metadata.Config(record.ConfigTopic, uint64(topic)); ok {
			t = parseTopic(c.Bytes)
		}
	}
	return topic, rankOf(t, s.o.ID)
}

func parseTopic(b []byte) *controlv1.Topic {
	t := &controlv1.Topic{}
	if proto.Unmarshal(b, t) != nil {
		return nil
	}
	return t
}

func rankOf(t *controlv1.Topic, shard ident.Shard) ident.Queue {
	for i, q := range t.GetQueues() {
		if q.GetShard() == uint32(shard) {
			return ident.Queue(i)
		}
	}
	return ident.OrphanQueue(shard)
}

func (s *Shard) buryFailed(d deadLetter, w waiter, err error) {
	s.burying--
	if w.op != nil {
		code := storeapi.Internal
		switch {
		case fault.Is(err, fault.NotFound):
			code = storeapi.InvalidHandle
		case fault.Is(err, fault.DiskFull):
			code = storeapi.DiskFull
		}
		s.settled(w, code)
		return
	}
	s.selector.Retry(delivery.Exhaustion{
		Key: delivery.Key{Group: d.group, Topic: d.topic}, Generation: d.generation, Queue: d.queue, Offset: d.offset,
		Grant: d.grant, Attempts: d.attempts,
	}, s.tail.timeMS+buryAgainMS)
}

func (s *Shard) putDeadLetter(d deadLetter, w waiter, payload message.Payload, term ident.Term) {
	if !s.leads() || term != s.tail.term || s.ending() {
		s.burying--
		s.settled(w, storeapi.Unknown)
		return
	}
	if err := s.admitDeadLetter(payload); err != nil {
		s.buryFailed(d, w, err)
		return
	}
	s.burying--
	body := record.DeadLetter{
		Group: d.group, Topic: d.topic, Generation: d.generation, Queue: d.queue, Offset: d.offset, Grant: d.grant,
		Reason: d.reason, Payload: payload,
	}
	s.scratch = body.Append(s.scratch[:0])
	s.put(record.TypeDeadLetter, w, s.scratch)
}

// admitDeadLetter says why a copy cannot be logged now, and sees to it that the
// log names its topic.
func (s *Shard) admitDeadLetter(payload message.Payload) error {
	size := record.Padded(record.HeaderSize + deadLetterHead + len(payload))
	switch {
	case int64(size) > s.entryBytesMax():
		return errTooLarge // it fits in no segment of the size that is configured now
	case !s.innerRoom(size):
		return errNoRoom
	case s.tell(&storeapi.Op{}, record.ConfigTopic, uint64(payload.Topic()), 0) != storeapi.OK:
		return errNoGrave
	}
	return nil
}

const (
	// deadLetterHead bounds a DeadLetter body without its payload.
	deadLetterHead = 64
	// originBytesMax bounds what the copy says more than the message, its id aside:
	// the topic's name, of at most 127 bytes, and what is around both.
	originBytesMax = 192
)

// storable reports whether a segment holds the message, and its copy among the dead
// letters, which names its id once more.
func (s *Shard) storable(m message.Payload) bool {
	most := MessageBytesMax(s.o.SegmentBytes)
	if 2*int64(len(m)) <= most {
		return true
	}
	id, _ := message.Text(m.Sys(), message.FieldMessageID)
	return int64(len(m)+len(id)) <= most
}

// appliedDeadLetter answers who forwarded the message. Without a topic to take it,
// a message whose attempts are exhausted is tried again.
func (s *Shard) appliedDeadLetter(out *outcome, w waiter) {
	s.settled(w, out.code)
	switch d := &out.dead; {
	case out.code == storeapi.OK:
		s.o.Counts.DeadLettered.Add(1)
	case out.code == storeapi.TopicNotFound && d.Reason == record.ReasonAttempts && s.selector != nil:
		s.selector.Retry(delivery.Exhaustion{
			Key: delivery.Key{Group: d.Group, Topic: d.Topic}, Generation: d.Generation, Queue: d.Queue, Offset: d.Offset, Grant: d.Grant,
		}, s.tail.timeMS+buryAgainMS)
	}
}
