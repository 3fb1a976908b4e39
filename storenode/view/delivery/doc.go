// SPDX-License-Identifier: Apache-2.0

// Package delivery is the view that knows who has received what: for every
// consumer group and topic on a shard, which offsets are done, which are being
// worked on by whom and until when, and which are free to be handed out. It is
// a pure fold of the shard's committed log; beside it stands the leader's
// Selector, which chooses what the next receive gets.
//
// # State of an offset
//
// Every offset of a queue is, for one group, in exactly one state:
//
//	            lease                      ack, dead letter, trim
//	┌───────┐ ─────────▶ ┌────────────────┐ ──────────────────▶ ┌──────┐
//	│ fresh │            │ live           │                     │ done │
//	└───────┘ ◀ ─ ─ ─ ─  │ grant, due,    │ ◀─┐ lease again     └──────┘
//	   │  │  (none goes  │ attempts, owner│ ──┘ once due passed    ▲  ▲
//	   │  │   back)      └────────────────┘                        │  │
//	   │  │ pass              ▲ lease                              │  │
//	   │  └───────▶ ┌───────────┐ ─ skip, trim ────────────────────┘  │
//	   │            │ available │                                     │
//	   │            └───────────┘                                     │
//	   └───────────────────────── skip, trim ─────────────────────────┘
//
// Fresh are all offsets at or above the queue's next. A delivery is named by
// the LSN of the PopGrant that made it; extending, releasing or renewing it
// changes when it is due, never its name. A released offset stays live, due at
// the release, so that its attempts are not forgotten. Expiry is no entry: a
// live offset whose effective due has passed may be leased again, that is all.
//
// # Effective due
//
//	due                                             of a plain lease
//	min(grant time + 3 h, max(due, owner's until))  of one that is renewed by its owner
//
// Any settlement that moves the due also ends the ownership.
//
// # What it promises
//
//	P1  every offset is exactly one of fresh, available, live, done
//	P2  a handle is valid iff it names the current delivery and its due has not passed
//	P3  an offset whose ack answered OK is never delivered again to that group
//	P4  nothing is delivered again before its due (in log time)
//	P5  attempts only grow; beyond the maximum an offset is dead-lettered, exactly once
//	P7  floor ≤ next; in-flight and available counts stay under their caps
//
// P1 to P5 are kept by apply, whatever entries come: it re-validates every
// grant, so a Selector that chose badly wastes a grant and harms nothing.
// Message-group order (FIFO) is not built: such grants change nothing here.
//
// Apply is a function of the entries alone. There is no clock, no randomness,
// no goroutine and no lock: one goroutine owns a Deliveries and its Selector.
// Checkpoint, restore and the rest of the log give the same Digest as the whole
// log, at every entry boundary.
//
// # Who calls what
//
//	every replica, in log order            the leader, besides
//	─────────────────────────────          ──────────────────────────────────────
//	ApplyGrant ApplySettle ApplyRenew      Selector.Select → PopGrant entry →
//	ApplyDeadLetter ApplyOffsetCommit        ApplyGrant → Selector.Applied
//	ApplyReset ApplyStart ApplyTermStart   Selector.Advance at NextDueMS, then
//	ApplyTrim ApplyTimeShift                 Woken → waiters, Exhausted → DeadLetter
//	ApplyGroupConfig DropTopic
//	Checkpoint Restore Digest
//
// State of a (group, topic) begins with its first entry, but only for a group
// whose configuration has been applied: after a group is deleted nothing
// brings it back. The caller does the same for topics: it applies no entry
// that names a topic which its catalog does not hold.
//
// # Memory
//
// Offsets lie in chunks of 64 (three bit masks), leases in slabs of 8 slots
// which exist only while one of the 8 is live; chunks that are wholly done are
// dropped, wherever they lie, so a stuck head costs one chunk and not the span
// behind it. All of it is in flat pools without pointers: about 18 bytes for a
// lease among dense ones, and nothing for a backlog that nobody has touched.
//
// Beside the state, and never in a checkpoint, there are accelerators: a heap
// of chunks by a lower bound of their next due, lists of chunks with expired or
// exhausted leases, and a mask of what the Selector has promised. They are
// rebuilt by Selector.Reset when leadership begins.
package delivery
