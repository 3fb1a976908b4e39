// SPDX-License-Identifier: Apache-2.0

package shard

import "sync/atomic"

// Counts are what all shards of a node did since the process started.
type Counts struct {
	Messages     atomic.Uint64 // stored
	Bytes        atomic.Uint64 // of their payloads
	Leased       atomic.Uint64 // deliveries made
	Settled      atomic.Uint64 // settlements that took effect or were repeated
	Refused      atomic.Uint64 // settlements of deliveries that are not current
	DeadLettered atomic.Uint64
	Rounds       atomic.Uint64 // write and sync
	Entries      atomic.Uint64 // in those rounds
}
