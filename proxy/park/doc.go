// SPDX-License-Identifier: Apache-2.0

// Package park is where receives wait that found nothing: all of a proxy, each
// for the messages of one group on one topic with one filter.
//
// # How waiting works
//
// Receives with the same group, topic and filter share a place. A place keeps at
// most one Park on each shard of the topic, however many receives wait in it:
//
//	idle ──Park sent──▶ parked ──Ready(ticket)──▶ turn ──Turn.Done──▶ idle
//	  ▲                   │  │                      (a receive is taking)
//	  └── retry ◀─ failed ┘  └─ no receive waits ──Decline──▶ idle
//
// The longest waiting receive gets the turn: it takes from that shard with that
// ticket, then says Done, and the shard is parked on again if somebody still
// waits. So one message wakes one receive, and a shard that has more answers the
// next Park at once.
//
// A shard on which a place is parked has nothing for that place, else it would
// have said so, and one that could not be asked is asked again soon: a receive
// that comes need not ask them (View). Parks therefore stay for a short while
// after the last receive has left.
//
// # Promises
//
//   - A Ready is never lost: it goes to a receive, or is declined.
//   - A receive leaves when its time is over, when its caller goes away, or when
//     the lot is drained; nothing is left behind on any shard.
//   - Waiting costs the caller's goroutine and no timer: one goroutine (Run)
//     keeps all deadlines in one heap.
//   - At most Max receives wait; beyond, Overloaded.
//   - Operations of one place are handed over in the order of the decisions.
package park
