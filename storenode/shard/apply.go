// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/catalog"
	"github.com/mansiomq/mansio/storenode/view/delivery"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/producer"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// views is the state that the log's committed entries make. It is the same on
// every replica and after every recovery; nothing but apply changes it.
type views struct {
	queues     *queue.Queues
	keys       *keyindex.Index
	producers  *producer.Windows
	catalog    *catalog.Catalog
	deliveries *delivery.Deliveries
	origin     *origin

	groups map[ident.Group]*controlv1.Group // parsed from the catalog
	topics map[ident.Topic]*controlv1.Topic

	maxID   uint64        // highest topic or group id that the log names
	applied record.Header // of the newest applied entry
}

// outcome is what apply made of one entry, for whoever waits for it. Its memory
// is used again.
type outcome struct {
	code    storeapi.Code
	lsn     ident.LSN // of a message: its own, or that of the one it repeats
	offset  ident.Offset
	topic   ident.Topic // that gained a message
	grant   delivery.GrantOutcome
	popped  record.PopGrant
	settle  record.Settle
	results []delivery.Result
	dead    record.DeadLetter
	trim    ident.LSN // new start
	shiftMS int64     // by which all dues moved
	config  record.Config
	newer   bool // the configuration took effect
}

func newViews() *views {
	return &views{
		queues: queue.New(commitlog.FirstLSN), keys: keyindex.New(), producers: producer.New(), catalog: catalog.New(),
		deliveries: delivery.New(), origin: newOrigin(), groups: map[ident.Group]*controlv1.Group{}, topics: map[ident.Topic]*controlv1.Topic{},
	}
}

// apply folds one committed entry. An entry that this build cannot read is an
// error, never skipped: the replica fails.
func (v *views) apply(e *record.Entry, out *outcome) (err error) {
	if e.Version != record.Version {
		return fault.Errorf("apply", fault.Incompatible, "%v entry of version %d at LSN %d", e.Type, e.Version, e.LSN)
	}
	out.code, out.topic = storeapi.OK, 0
	switch e.Type {
	case record.TypeMessage:
		v.applyMessage(e, out)
	case record.TypePopGrant:
		err = v.applyGrant(e, out)
	case record.TypeSettle:
		if out.settle, err = record.DecodeSettle(e.Body); err == nil {
			out.results = v.deliveries.ApplySettle(&e.Header, out.settle.Items, out.results[:0])
		}
	case record.TypeDeadLetter:
		err = v.applyDeadLetter(e, out)
	default:
		err = v.applyRare(e, out)
	}
	v.applied = e.Header
	if err != nil {
		return fmt.Errorf("apply %v at LSN %d: %w", e.Type, e.LSN, err)
	}
	return nil
}

// applyRare folds the entries that are no client's business.
func (v *views) applyRare(e *record.Entry, out *outcome) error {
	switch e.Type {
	case record.TypeTermStart:
		_, err := record.DecodeTermStart(e.Body)
		v.deliveries.ApplyTermStart(&e.Header, v.applied.TimeMS)
		return err
	case record.TypeSeal:
		return nil // the caller freezes the segment's runs
	case record.TypeConfig:
		return v.applyConfig(e, out)
	case record.TypeRenew:
		b, err := record.DecodeRenew(e.Body)
		if err == nil {
			v.deliveries.ApplyRenew(&e.Header, &b)
		}
		return err
	case record.TypeTrim:
		b, err := record.DecodeTrim(e.Body)
		out.trim = b.NewStart
		v.origin.start = max(v.origin.start, b.NewStart)
		return err
	case record.TypeTimeShift:
		b, err := record.DecodeTimeShift(e.Body)
		if err == nil {
			out.shiftMS = b.DeltaMS
			v.deliveries.ApplyTimeShift(&e.Header, b.DeltaMS)
		}
		return err
	case record.TypeOffsetCommit:
		b, err := record.DecodeOffsetCommit(e.Body)
		if err == nil {
			v.deliveries.ApplyOffsetCommit(&e.Header, &b)
		}
		return err
	case record.TypeGroupReset:
		b, err := record.DecodeGroupReset(e.Body)
		if err == nil {
			v.deliveries.ApplyReset(&e.Header, &b)
		}
		return err
	default:
		return fault.Errorf("apply", fault.Incompatible, "this build does not know %v", e.Type)
	}
}

// applyMessage gives a message its place, unless it repeats one or its topic is
// gone.
func (v *views) applyMessage(e *record.Entry, out *outcome) {
	m := message.Payload(e.Body)
	if _, err := message.Parse(e.Body); err != nil || v.topics[m.Topic()] == nil {
		out.code = storeapi.TopicNotFound
		return
	}
	if m.Proxy() != 0 {
		switch seen := v.producers.Seen(m.Proxy(), m.Seq()); {
		case seen.TooOld:
			out.code = storeapi.SeqTooOld
			return
		case seen.Duplicate:
			out.lsn, out.offset = seen.LSN, seen.Offset
			return
		}
	}
	v.place(e, m, out)
	if m.Proxy() != 0 {
		v.producers.Apply(m.Proxy(), m.Seq(), e.LSN, out.offset, e.TimeMS)
	}
}

// trimmed raises the minimum of one queue, for all groups.
func (v *views) trimmed(span queue.Span) {
	v.queues.Trimmed(func(yield func(queue.Span) bool) { yield(span) })
	v.deliveries.ApplyTrim(span.Topic, span.Queue, v.queues.Min(span.Topic, span.Queue))
}

// place posts a message to its queue and indexes its keys.
func (v *views) place(e *record.Entry, m message.Payload, out *outcome) {
	out.topic, out.lsn = m.Topic(), e.LSN
	out.offset = v.queues.Append(m.Topic(), m.Queue(), queue.Posting{
		LSN: e.LSN, Bytes: e.Len, TagHash: m.TagHash(), GroupHash: m.GroupHash(),
	}, e.TimeMS)
	v.keys.Add(e.LSN, m)
}

// applyGrant delivers; a grant for a topic that was deleted meanwhile brings
// nothing of it back.
func (v *views) applyGrant(e *record.Entry, out *outcome) (err error) {
	if out.popped, err = record.DecodePopGrant(e.Body); err != nil {
		return err
	}
	if v.topics[out.popped.Topic] == nil {
		out.grant = delivery.GrantOutcome{Granted: out.grant.Granted[:0], Stale: true}
		return nil
	}
	v.deliveries.ApplyGrant(&e.Header, &out.popped, &out.grant)
	return nil
}

// applyDeadLetter moves a message to the dead letters, unless their topic is gone.
func (v *views) applyDeadLetter(e *record.Entry, out *outcome) (err error) {
	if out.dead, err = record.DecodeDeadLetter(e.Body); err != nil {
		return err
	}
	m, err := message.Parse(out.dead.Payload)
	if err != nil {
		return err
	}
	if v.topics[m.Topic()] == nil {
		out.code = storeapi.TopicNotFound
		return nil
	}
	if !v.deliveries.ApplyDeadLetter(&e.Header, &out.dead) {
		out.code = storeapi.InvalidHandle
		return nil
	}
	v.place(e, m, out)
	return nil
}

// applyConfig takes an object's configuration over, if it is newer than what is
// known. A deletion drops all state of the object.
func (v *views) applyConfig(e *record.Entry, out *outcome) (err error) {
	if out.config, err = record.DecodeConfig(e.Body); err != nil {
		return err
	}
	if out.newer = v.catalog.Apply(&out.config); !out.newer {
		return nil
	}
	return v.heed(&out.config)
}

// heed puts a configuration to effect; restoring a checkpoint does the same for
// all that the catalog holds.
func (v *views) heed(c *record.Config) error {
	switch c.Kind { //nolint:exhaustive // the other kinds are of what is not built
	case record.ConfigTopic:
		v.maxID = max(v.maxID, c.ID)
		return v.heedTopic(c)
	case record.ConfigGroup:
		v.maxID = max(v.maxID, c.ID)
		return v.heedGroup(c)
	case record.ConfigStart:
		var s controlv1.Start
		if err := proto.Unmarshal(c.Bytes, &s); err != nil {
			return err
		}
		if v.topics[ident.Topic(s.GetTopic())] != nil { // else it was deleted meanwhile
			v.deliveries.ApplyStart(startKey(&s), startRule(&s, c.Revision))
		}
	}
	return nil
}

func startRule(s *controlv1.Start, revision uint64) delivery.Start {
	if s.GetFrom() == controlv1.ConsumeFrom_CONSUME_FROM_LATEST {
		return delivery.Start{Kind: record.StartTime, TimeMS: s.GetSinceMs(), Revision: revision}
	}
	return delivery.Start{Kind: record.StartEarliest}
}

func (v *views) heedTopic(c *record.Config) error {
	id := ident.Topic(c.ID)
	if c.Deleted {
		delete(v.topics, id)
		v.deliveries.DropTopic(id)
		v.queues.DropTopic(id)
		return nil
	}
	t := &controlv1.Topic{}
	if err := proto.Unmarshal(c.Bytes, t); err != nil {
		return err
	}
	v.topics[id] = t
	return nil
}

func (v *views) heedGroup(c *record.Config) error {
	id := ident.Group(c.ID)
	if c.Deleted {
		delete(v.groups, id)
		v.deliveries.DropGroup(id)
		return nil
	}
	g := &controlv1.Group{}
	if err := proto.Unmarshal(c.Bytes, g); err != nil {
		return err
	}
	v.groups[id] = g
	v.deliveries.ApplyGroupConfig(id, delivery.GroupConfig{
		AttemptsMax: uint8(min(g.GetMaxAttempts(), 250)), LateAck: !g.GetStrictExpiry(),
	})
	return nil
}
