// SPDX-License-Identifier: Apache-2.0

// Package shard is one replica of one shard: the log, the views computed from
// it, and the verbs that proxies call: Append, Take, Park, Settle, Alive,
// Offsets, Query.
//
// # How an operation goes
//
//	Submit ─▶ inbox ─▶ owner: sequence ─▶ batch ─▶ writer: pwrite, fdatasync
//	                     ▲                                   │
//	                     │                                   ▼
//	  Done ◀── readers ◀─┴── owner: apply, in log order ◀── committed
//
// One goroutine, the owner, has everything that changes: sequencer, views,
// selector, parking, subscriptions. It never waits for the disk. While a batch
// is being written and synced it sequences the next one, so a round lasts one
// sync and carries whatever came meanwhile (group commit without a timer). With
// one replica an entry is committed when it is synced; then it is applied, and
// only then is anybody told. So:
//
//   - what was answered OK is durable, and nothing uncommitted is ever seen;
//   - queue offsets, attempts and the validity of handles are decided by apply;
//   - choices of the sequencer (what a Take gets) are proposals that apply
//     checks again; the selector keeps two proposals from choosing the same.
//
// Beside the owner run: the writer (one batch at a time), readers (bodies for
// Takes, queries, dead letters), one worker for chores (index files, checkpoints,
// meta file) and the log's own preparation. They come back to the owner through
// calls, never into its state.
//
// # Time
//
// Only a leader reads the clock, once per event, and writes what it read into
// the entries. One timer wakes the owner for the next lease that falls due, the
// next ticket that runs out, or after a second.
//
// # Life
//
//	Create: meta file ── Open ── Run: recover, then serve
//	recover: newest checkpoint + index files, then replay; torn tail cut
//	Fence: promise a term ── Lead: barrier ── applied: leads
//	fail: an error of the disk or of apply; answers NotLeader from then on
//	stop: finish what is under way, checkpoint, clean mark
//
// Files: shard.go (life), loop.go (owner and writer), batch.go, sequence.go
// (operations to entries), apply.go (entries to views), lead.go (terms, answers
// after apply), take.go, start.go, wake.go, park.go, settle.go, deadletter.go, alive.go,
// query.go (the verbs), read.go, work.go (readers and chores), seal.go, mend.go,
// retain.go, room.go, recover.go, stop.go, tick.go.
package shard
