// SPDX-License-Identifier: Apache-2.0

// Package ident holds the numbers by which things are known, each with a type
// of its own, and the hash of names.
//
//	Shard          u32   one replicated log and its views
//	Topic, Group   u64   from one counter, never reused: the id is the incarnation,
//	Node                 so a re-created topic is a different topic
//	Queue          u64   0…n−1 inside a topic; LiteQueue for lite topics;
//	                     OrphanQueue for dead letters of a shard that has no rank yet
//	Offset         u64   position of a message in its queue, dense, from 0
//	LSN            u64   byte position in a shard's logical log
//	Term           u64   reign of one leader over one shard
package ident

import (
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Shard names one replicated log and the views computed from it.
type Shard uint32

// Topic is a topic's incarnation; 0 is no topic.
type Topic uint64

// Group is a consumer group's incarnation; 0 is no group.
type Group uint64

// Node is a store node; 0 is no node.
type Node uint64

// Queue is a queue inside a topic.
type Queue uint64

// Offset is a message's position in its queue.
type Offset uint64

// LSN is a byte position in the shard's logical log; it grows for ever.
type LSN uint64

// Term is the reign of one leader over one shard; it only grows.
type Term uint64

// Generation counts the resets of a group on a topic.
type Generation uint32

const orphanBit Queue = 1 << 62

// OrphanQueue holds dead letters of a shard that is not in the list of the
// dead-letter topic's shards yet.
func OrphanQueue(s Shard) Queue { return orphanBit | Queue(s) }

// Shown is the queue id that clients see: they know only 0…n−1.
func (q Queue) Shown() int32 {
	if q >= orphanBit {
		return 0
	}
	return int32(q) //nolint:gosec // queue counts are limited to 2^16
}

func (s Shard) String() string { return strconv.FormatUint(uint64(s), 10) }

// Hash64 is xxh64 of the UTF-8 text. Equal hashes are never taken for equal
// texts: whoever finds by hash compares the text.
func Hash64(text string) uint64 { return xxhash.Sum64String(text) }

// Hash32 is the low half of Hash64.
func Hash32(text string) uint32 { return uint32(Hash64(text)) } //nolint:gosec // the low half is meant
