// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"

	"github.com/mansiomq/mansio/internal/ident"
)

// Version is the encoding version that this build writes for every type.
const Version = 1

// TermStart is a term's barrier: nothing of the term commits before it.
//
//	n uv, n × { node uv, incarnation uv }   the in-sync set
//	prev_end uv                             where the log ended before it
//	unclean u8                              1: acknowledged entries may be missing before it
type TermStart struct {
	InSync  []ReplicaID
	PrevEnd ident.LSN
	Unclean bool
}

// ReplicaID is one life of one replica: a node, and the number minted when the
// replica was created on it.
type ReplicaID struct {
	Node        ident.Node
	Incarnation uint64
}

// Append encodes the body behind dst.
func (b *TermStart) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.InSync)))
	for _, r := range b.InSync {
		dst = binary.AppendUvarint(dst, uint64(r.Node))
		dst = binary.AppendUvarint(dst, r.Incarnation)
	}
	dst = binary.AppendUvarint(dst, uint64(b.PrevEnd))
	return putFlag(dst, b.Unclean)
}

// DecodeTermStart decodes the body of a TermStart entry.
func DecodeTermStart(body []byte) (TermStart, error) {
	c := cursor{b: body}
	var b TermStart
	for range c.count("in-sync set") {
		b.InSync = append(b.InSync, ReplicaID{ident.Node(c.uv("node")), c.uv("incarnation")})
	}
	b.PrevEnd = ident.LSN(c.uv("prev_end"))
	b.Unclean = c.flag("unclean")
	return b, c.finish(TypeTermStart)
}

// ConfigKind says whose configuration a Config entry carries.
type ConfigKind uint8

// The kinds.
const (
	ConfigTopic   ConfigKind = 1
	ConfigGroup   ConfigKind = 2
	ConfigStart   ConfigKind = 3 // start rule of (group, topic)
	ConfigFeature ConfigKind = 4
	ConfigLite    ConfigKind = 5
)

// Config copies one object's configuration into the log, so that apply depends
// on the log alone. Older ones than already applied are ignored; the order is
// (RestoreEpoch, Revision). Bytes is the object's protobuf encoding, opaque here.
//
//	kind u8, id uv, restore_epoch uv, revision uv, deleted u8, bytes str
type Config struct {
	Kind         ConfigKind
	ID           uint64
	RestoreEpoch uint64
	Revision     uint64
	Deleted      bool
	Bytes        []byte
}

// Append encodes the body behind dst.
func (b *Config) Append(dst []byte) []byte {
	dst = append(dst, byte(b.Kind))
	dst = binary.AppendUvarint(dst, b.ID)
	dst = binary.AppendUvarint(dst, b.RestoreEpoch)
	dst = binary.AppendUvarint(dst, b.Revision)
	dst = putFlag(dst, b.Deleted)
	return putStr(dst, b.Bytes)
}

// DecodeConfig decodes the body of a Config entry; Bytes shares its memory.
func DecodeConfig(body []byte) (Config, error) {
	c := cursor{b: body}
	b := Config{
		Kind: ConfigKind(c.small(uint8(ConfigLite), "kind")), ID: c.uv("id"), RestoreEpoch: c.uv("restore_epoch"),
		Revision: c.uv("revision"), Deleted: c.flag("deleted"), Bytes: c.str("bytes"),
	}
	if b.Kind == 0 {
		c.fail("kind")
	}
	return b, c.finish(TypeConfig)
}

// TimeShift moves all dues by DeltaMS: an operator set the shard's clock.
//
//	delta_ms sv
type TimeShift struct{ DeltaMS int64 }

// Append encodes the body behind dst.
func (b *TimeShift) Append(dst []byte) []byte { return binary.AppendVarint(dst, b.DeltaMS) }

// DecodeTimeShift decodes the body of a TimeShift entry.
func DecodeTimeShift(body []byte) (TimeShift, error) {
	c := cursor{b: body}
	b := TimeShift{c.sv("delta_ms")}
	return b, c.finish(TypeTimeShift)
}

// Trim retires all segments below NewStart.
//
//	new_start uv
type Trim struct{ NewStart ident.LSN }

// Append encodes the body behind dst.
func (b *Trim) Append(dst []byte) []byte { return binary.AppendUvarint(dst, uint64(b.NewStart)) }

// DecodeTrim decodes the body of a Trim entry.
func DecodeTrim(body []byte) (Trim, error) {
	c := cursor{b: body}
	b := Trim{ident.LSN(c.uv("new_start"))}
	return b, c.finish(TypeTrim)
}

// SkipEntry makes apply pass over the entry at LSN, by an operator's order.
//
//	lsn uv
type SkipEntry struct{ LSN ident.LSN }

// Append encodes the body behind dst.
func (b *SkipEntry) Append(dst []byte) []byte { return binary.AppendUvarint(dst, uint64(b.LSN)) }

// DecodeSkipEntry decodes the body of a SkipEntry entry.
func DecodeSkipEntry(body []byte) (SkipEntry, error) {
	c := cursor{b: body}
	b := SkipEntry{ident.LSN(c.uv("lsn"))}
	return b, c.finish(TypeSkipEntry)
}

// DeadLetter takes a message out of a group's queue and gives it to the
// group's dead-letter topic: Payload is a copy placed in that topic and queue.
// Apply does both iff Grant still is the offset's current delivery.
//
//	group uv, topic uv, generation uv, queue uv, offset uv, grant uv, reason u8, payload
type DeadLetter struct {
	Group      ident.Group
	Topic      ident.Topic
	Generation ident.Generation
	Queue      ident.Queue
	Offset     ident.Offset
	Grant      ident.LSN
	Reason     Reason
	Payload    []byte
}

// Reason says why a message was dead-lettered.
type Reason uint8

// The reasons.
const (
	ReasonAttempts Reason = 1 // the last attempt's lease passed
	ReasonClient   Reason = 2 // the client forwarded it
)

// Append encodes the body behind dst.
func (b *DeadLetter) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.Group))
	dst = binary.AppendUvarint(dst, uint64(b.Topic))
	dst = binary.AppendUvarint(dst, uint64(b.Generation))
	dst = binary.AppendUvarint(dst, uint64(b.Queue))
	dst = binary.AppendUvarint(dst, uint64(b.Offset))
	dst = binary.AppendUvarint(dst, uint64(b.Grant))
	dst = append(dst, byte(b.Reason))
	return append(dst, b.Payload...)
}

// DecodeDeadLetter decodes the body of a DeadLetter entry; Payload shares its
// memory and is not parsed.
func DecodeDeadLetter(body []byte) (DeadLetter, error) {
	c := cursor{b: body}
	b := DeadLetter{
		Group: ident.Group(c.uv("group")), Topic: ident.Topic(c.uv("topic")),
		Generation: c.generation(), Queue: ident.Queue(c.uv("queue")),
		Offset: ident.Offset(c.uv("offset")), Grant: ident.LSN(c.uv("grant")),
		Reason: Reason(c.small(uint8(ReasonClient), "reason")),
	}
	b.Payload, c.b = c.b, nil
	return b, c.finish(TypeDeadLetter)
}
