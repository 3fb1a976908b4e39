// SPDX-License-Identifier: Apache-2.0

// Package index is the file that holds what was derived from one sealed segment
// of the log: where each queue's messages stand, and which entries have which
// keys and ids. It is written once, when the segment was sealed, and can be made
// again from the log.
//
// # Format
//
// <base>.idx, base as 20 decimal digits, beside <base>.log: a file of package
// container, magic "MNSINDX\n", format 1:
//
//	head      cluster u64, shard u32, last_crc u32, base u64, end u64
//	          last_crc is that of the segment's last entry, its Seal
//	sections  1 queues   package queue: directory and postings
//	          2 times    package queue: log time → LSN
//	          3 keys     package keyindex
//	          4 ids      package keyindex
//	          5          kept for runs of timers
//
// The head binds the file to one history of the log: last_crc ends a chain over
// all entries, so a file from a tail that was cut and written anew is told apart.
//
// # Promises
//
// Write is durable as a whole or not at all. Its caller syncs the log to the
// segment's end first, so that an index never knows more than the log.
//
// Open checks the file's frame; each page of a section is checked when it is
// read. Missing is fault.NotFound, damaged or of another history fault.Corrupt,
// of another cluster, shard or format fault.Incompatible. The first two mean:
// make it again. Nothing here ever deletes data.
package index
