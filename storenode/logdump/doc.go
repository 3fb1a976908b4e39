// SPDX-License-Identifier: Apache-2.0

// Package logdump prints a shard's log, for people and for programs. It changes
// nothing, and may look at a log that is in use or damaged.
//
// For people:
//
//	segment base=8 format=1 cluster=00000000000000c1 shard=7 capacity=65536 …
//	       8 term 1 2026-09-21T14:13:20.000Z TermStart 53 prev_end=8 unclean=false …
//	-- [464, 616) is no entry: damaged entry: CRC 4fb609a2, want aa2f00e6 at LSN 464
//	-- the log ends at 768 (empty prepared blocks)
//
// A line begins with LSN, term, log time, type and length.
//
// For programs, one JSON object a line, told apart by "kind": segment, entry,
// gap (without "to": the end). 64-bit hashes are hexadecimal strings.
//
// Without bodies, what a user wrote is not printed: of lists only their lengths,
// of bytes only how many.
package logdump
