// SPDX-License-Identifier: Apache-2.0

// Package queue is the view that turns a shard's log into queues: which entry
// holds the message at (topic, queue, offset).
//
// # What it promises
//
// An offset is the position of a posting in its queue, dense, from 0, assigned
// by apply in log order and never again to another message. Queues are many and
// mostly idle: an idle one costs 40 bytes and its cell in a table (5 to 11); a
// posting of the active segment costs 16 bytes, 24 with a message group. There is
// no file per queue.
//
// # Data flow
//
//	Append ──▶ Queues: counters of all queues + arena of the active segment
//	              │ Freeze, at the Seal entry
//	              ▼
//	            Run: the arena, now immutable ──WriteQueues, WriteTimes──▶ index file
//	              │ Archive.Add                                              │ Open
//	              ▼                                                          ▼
//	            Archive ◀──────────────────────── Replace ─────────────── Stored
//
// The shard's owner goroutine alone touches Queues. Runs, Stored ones and the
// Archive never change in place, so readers need no lock. Whoever wants an offset
// asks Queues.Active first, then Archive.Lookup. An index file may be renamed into
// place only when the log is synced to the segment's end.
//
// Trim retires whole segments: Trimmed raises the minimum of every queue in the
// retired directory, which is the same on every replica.
//
// # Invariants
//
//   - Min ≤ Next; the active segment holds [Next − count, Next) of each queue.
//   - The spans of one queue in successive segments follow each other without a
//     hole: a span's Base is the End of the one before it.
//   - Postings of a queue grow in LSN, and so does log time; therefore the first
//     posting not before a time is found exactly, by the segment's time table.
//   - All that depends on order goes by creation of queues in log order, never by
//     a table's order: equal prefixes of the log give equal bytes.
//
// # Sections of the index file, version 1
//
// Scalars, pages and tails are those of package flat. LSNs are multiples of 8 and
// are told in units of 8.
//
//	queue section
//	  posting pages    256 postings each, in the order of the directory
//	    posting          size<<3 | flags uv    flags: 1 tag, 2 message group, 4 reserved
//	                     lsn − previous sv     the page's first: − segment base
//	                     tag hash u32          if flag 1
//	                     group hash u64        if flag 2
//	  directory pages  128 spans each, sorted by (topic, queue)
//	    first ordinal uv                       of the page's first posting in the section
//	    span             topic − previous uv, queue uv (− previous in the same topic),
//	                     base offset uv, count uv
//	  tail             version u8, segment base uv, segment end uv, postings uv,
//	                   pages of postings: n uv, n × length uv,
//	                   pages of spans: n uv, n × length uv, n × { topic uv, queue uv }
//
//	time section
//	  pages            256 samples each, one per millisecond that has a posting
//	    sample           ms − previous sv, lsn − previous uv; the page's first: − 0, − base
//	  tail             version u8, pages: n uv, n × length uv, n × first ms sv, last ms sv
//
// # Checkpoint, version 1
//
//	version u8, active base uv, last LSN uv
//	n uv, n × { topic uv, queue uv, min uv, next − min uv,
//	            active postings uv, each as in a posting page }    in order of creation
//	n uv, n × sample of the active segment
package queue
