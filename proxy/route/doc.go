// SPDX-License-Identifier: Apache-2.0

// Package route brings operations to the shards: it knows from the metadata
// which shards a topic has and who leads them, chooses a queue for a send, and
// tries again where trying again is safe.
//
//	handler ──Append, Do, Start──▶ Router ──Submit──▶ Peer of the leader's node
//	                                  ▲ shards, leaders      │
//	                                  └── metadata.Table     └─▶ shard
//
// # Sends
//
// A send without a message group goes to the topic's queues in turn, passing
// over those whose shard has no leader that can be reached. Each message carries
// this proxy's incarnation and a sequence number of its shard, by which the shard
// tells a repetition from a new message. A number stays in use until the outcome
// is known or given up; no number runs more than storeapi.SeqWindow ahead of the
// oldest one in use.
//
// # When an attempt fails
//
//	nothing was done     NotLeader, Unavailable, Overloaded, DiskFull, Expired: a
//	                     send goes to another shard, with a new number; all else
//	                     to the same shard's next leader
//	outcome not known    Unknown: the same shard only, with the same numbers, so
//	                     that the message is stored at most once; operations that
//	                     are not repeatable are answered Unknown
//	NeedConfig           the same shard again, with the configuration attached
//	everything else      is the answer
//
// An attempt gets a third of the time, so that a dead leader costs no more than
// that before the next one is tried. Nothing is tried after the deadline or when
// the caller is gone.
//
// # Waiting
//
// The caller's goroutine waits for the completion of its operation on a pooled
// channel; no goroutine or timer is made per operation. An operation is always
// waited for: peers complete each one at its deadline at the latest.
package route
