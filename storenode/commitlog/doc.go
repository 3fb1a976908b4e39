// SPDX-License-Identifier: Apache-2.0

// Package commitlog keeps the log of one shard replica in segment files: it
// appends, syncs, recovers, reads, trims and recycles. It knows entries by their
// headers only; what they mean is others' business.
//
// # Files
//
//	{dir}/00000000000000000008.log   a segment, named by its base LSN
//	      00000003.free              a retired segment, or the next one in the making
//	      reserve.free               the spare for a full disk
//
//	segment = header, 4,096 bytes ‖ log bytes from base on
//	file offset = 4,096 + lsn − base
//
//	   0 magic       8 bytes "MANSIOLG"
//	   8 format      u32   1
//	  12 shard       u32
//	  16 cluster     u64   hash of the cluster's UUID
//	  24 base        u64   LSN of the first entry
//	  32 capacity    u64   log bytes that the segment may hold
//	  40 prev_crc    u32   CRC of the entry before base; 0: there was none
//	  44 n           u32   pairs that follow, ≤ 128
//	  48 prev_term   u64   term of the entry before base
//	  56 prev_time   i64   log time of the entry before base
//	  64 flags       u32   1: made of the spare
//	  68 zero        u32
//	  72 (term u64, start u64) × n   newest terms in force at base, oldest first
//	     zeros
//	4092 crc         u32   CRC-32C of bytes [0, 4092)
//
// A log begins at LSN 8, so that LSN 0 can mean none. The last entry of every
// segment but the newest is a Seal; the next segment's base is where it ends.
// Bytes behind the Seal mean nothing.
//
// # Promises
//
//   - What Sync covered survives kill -9 and power loss, or Recover says that it
//     is lost; it never disappears silently.
//   - What was not synced is there after a crash up to some entry, or not at all:
//     the log is always a prefix of what was appended.
//   - Bytes of an earlier life of a file, or of a tail that was cut, never become
//     entries again: each entry carries its own address and the CRC of the one
//     before, and a restarted shard writes in a higher term.
//   - A failed fsync, and a failed write into prepared blocks, end the log's life:
//     nothing is written after it, and no file is synced a second time.
//
// # How bytes flow
//
//	Append ─▶ pwrite into prepared blocks ─▶ ring ─▶ End moves
//	Sync   ─▶ fdatasync of the segments written, fsync of the folder after a roll ─▶ Synced moves
//	Run    ─▶ zeroes blocks ahead of End, makes the next segment, recycles trimmed ones
//	Read   ─▶ ring, or pread
//
// Run zeroes blocks because fdatasync of bytes that extend a file, or fill a
// hole in it, waits for the file system's journal; overwriting does not. For the
// same reason retired segments are used again. It also means that a full disk
// shows while preparing, where nothing is lost yet, and not in the middle of an
// append.
//
// # Torn or corrupt
//
// Recovery walks the chain until bytes do not continue it, at E. Then
//
//	the bytes cannot be read                                    corrupt
//	E is below the floor, which was durable                     corrupt
//	an entry behind E says that commit was beyond E already     corrupt
//	else                                                        torn
//
// except that entries within cut notes prove nothing. A torn tail was never
// acknowledged; it is cut, so that the next entries stand there. Corruption
// changes nothing on the disk: a replica fetches what it lost from others, and
// an operator may give it up with AcceptLoss.
//
// # Who may call what
//
//	Open → Recover (→ AcceptLoss → Recover)* → everything → Close
//
// One goroutine calls Append, one Run; Sync, Read, Scan, Trim, WaitPrepared and
// the accessors may be called by any number of goroutines at any time. Locks, in
// this order: syncing (held during fsync, by Sync alone), mu (never held during
// I/O); segment.mu is held for reading during a pread or an fsync, and for
// writing to take a segment out of use.
package commitlog
