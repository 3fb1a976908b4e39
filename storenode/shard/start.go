// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

// tellStart makes sure that the log holds where the group begins in the topic
// before anything is chosen for it. A group that begins with what comes is not
// served before its rule is known: by the shard's metadata or by what the
// operation carries.
func (s *Shard) tellStart(op *storeapi.Op, key delivery.Key) storeapi.Code {
	_, told := s.starts[key]
	if _, _, known := s.views.deliveries.Opened(key); told || known {
		return storeapi.OK
	}
	if !s.lives(record.ConfigTopic, uint64(key.Topic)) || !s.lives(record.ConfigGroup, uint64(key.Group)) {
		return storeapi.NeedConfig
	}
	start, ok := s.o.Metadata.Start(key.Group, key.Topic)
	if !ok {
		start = attachedStart(op, key)
	}
	if start == nil {
		if s.groupConfig(op, key.Group).GetConsumeFrom() == controlv1.ConsumeFrom_CONSUME_FROM_LATEST {
			return storeapi.NeedConfig
		}
		return storeapi.OK // the earliest message, as without any rule
	}
	start = &controlv1.Start{
		Group: uint64(key.Group), Topic: uint64(key.Topic), From: start.GetFrom(), Revision: max(start.GetRevision(), 0),
		SinceMs: min(start.GetSinceMs(), s.tail.timeMS), // the log's clock may be behind the controller's
	}
	bytes, err := proto.Marshal(start)
	if err != nil {
		return storeapi.Internal
	}
	body := record.Config{
		Kind: record.ConfigStart, ID: start.GetGroup(), RestoreEpoch: s.restoreEpoch, Revision: uint64(start.GetRevision()), Bytes: bytes, //nolint:gosec // not negative
	}
	s.starts[key] = startRule(start, body.Revision)
	s.scratch = body.Append(s.scratch[:0])
	s.put(record.TypeConfig, waiter{}, s.scratch)
	return storeapi.OK
}

// lives reports whether the log names the topic or group, and has not ended it.
func (s *Shard) lives(kind record.ConfigKind, id uint64) bool {
	told, ok := s.told[configKey{kind, id}]
	return ok && !told.deleted
}

// appliedStart: from now on the views know the rule.
func (s *Shard) appliedStart(c *record.Config) {
	var start controlv1.Start
	if proto.Unmarshal(c.Bytes, &start) == nil {
		delete(s.starts, startKey(&start))
	}
}

func startKey(start *controlv1.Start) delivery.Key {
	return delivery.Key{Group: ident.Group(start.GetGroup()), Topic: ident.Topic(start.GetTopic())}
}

// attachedStart is the start that came with the operation, nil without one.
func attachedStart(op *storeapi.Op, key delivery.Key) *controlv1.Start {
	for _, c := range op.Attached {
		if record.ConfigKind(c.Kind) != record.ConfigStart {
			continue
		}
		start := &controlv1.Start{}
		if proto.Unmarshal(c.Bytes, start) == nil && startKey(start) == key {
			return start
		}
	}
	return nil
}

// groupConfig is the newest that is known of a group, nil if nothing is.
func (s *Shard) groupConfig(op *storeapi.Op, id ident.Group) *controlv1.Group {
	if g := s.views.groups[id]; g != nil {
		return g
	}
	c, ok := s.o.Metadata.Config(record.ConfigGroup, uint64(id))
	if !ok {
		c, ok = attached(op, record.ConfigGroup, uint64(id), 0)
	}
	g := &controlv1.Group{}
	if !ok || proto.Unmarshal(c.Bytes, g) != nil {
		return nil
	}
	return g
}

// startOffset is where a group begins in a queue that it has never read, and
// whether messages to come cannot change that.
func (s *Shard) startOffset(key delivery.Key, q ident.Queue, rule delivery.Start) (o ident.Offset, final bool) {
	minimum, next := s.views.queues.Min(key.Topic, q), s.views.queues.Next(key.Topic, q)
	if rule.Kind == record.StartEarliest || s.views.createdAfter(key.Topic, q, rule.Revision) {
		return minimum, true
	}
	at, ok, err := s.archive.OffsetAtTime(key.Topic, q, rule.TimeMS)
	if err != nil {
		s.unread(err)
		return next, false
	}
	if !ok {
		at, ok = s.views.queues.OffsetAtTime(key.Topic, q, rule.TimeMS)
	}
	if !ok {
		return next, s.views.applied.TimeMS >= rule.TimeMS // what comes has that time, or a later one
	}
	return max(at, minimum), true
}

// createdAfter reports whether the queue came to be after that revision of the
// metadata: then a group that subscribed before reads all of it.
func (v *views) createdAfter(t ident.Topic, q ident.Queue, revision uint64) bool {
	queues := v.topics[t].GetQueues()
	return uint64(q) < uint64(len(queues)) && uint64(queues[q].GetCreatedRevision()) > revision //nolint:gosec // revisions are positive
}
