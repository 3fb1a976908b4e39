// SPDX-License-Identifier: Apache-2.0

// Package clock turns one machine's clocks into log time: the leader's only
// notion of "now", which it writes into every entry.
//
// Log time never goes back, and never leaps on one machine's word:
//
//   - it advances with the monotonic clock, and is slewed towards the wall by at
//     most a tenth of what has elapsed;
//   - a wall that is ahead by more than a second is taken at once only when it
//     has kept that distance to the monotonic clock, within a second, for a
//     minute: then it was set, not stumbled over;
//   - a term's first reading is the greater of the last log time and the wall,
//     but a wall more than ten minutes ahead of the last log time has to prove
//     itself first like any other step. An empty log believes the wall.
//
// A step passes no time: Step tells of it, so that leases can be moved along.
//
// The type is a pure function of the readings that it is given; Source reads
// the machine. Log time is in Unix milliseconds.
package clock
