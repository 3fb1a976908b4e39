// SPDX-License-Identifier: Apache-2.0

// Package keyindex is the view that finds messages by key and by id: which
// entries of the log may carry it.
//
// # What it promises
//
// Find returns candidates: every entry that has the key or the id, and rarely one
// that has not, because hashes of texts are kept and not the texts. The caller
// reads the entry and compares. Answers are bounded by the caller's Max, and go
// on behind the last LSN of the answer before.
//
//	key   low half of xxh64( topic u64 ‖ key hash u32 ), little-endian; the key hash
//	      is the message head's: low half of xxh64 of the text
//	id    xxh64 of the message id, as in the message head; 0 is not indexed
//
// The active segment costs 8 bytes per key and 12 per message in memory, and
// Add is two appends: a lookup scans them, a sealed segment is sorted beside the
// owner. What a sealed segment's file costs in memory does not depend on its size.
//
// # Data flow
//
//	Add ──▶ Index ──Snapshot──▶ Run   what the active segment held just then
//	          │ Freeze, at the Seal entry
//	          ▼
//	         Run ──WriteKeys, WriteIDs──▶ index file ──Open──▶ Stored
//	          └──▶ Archive ◀──────────────── Replace ────────────┘
//
// The shard's owner goroutine alone touches Index. Runs and Stored ones never
// change; any goroutine may ask them.
//
// # Sections of the index file, version 1
//
// Scalars, pages and tails are those of package flat. One section for keys, one
// for ids, of the same form. LSNs are told from the segment's base in units of 8.
//
//	pages    256 pairs each, sorted by (hash, lsn)
//	  pair     hash − previous uv,
//	           lsn uv                   − previous if the hash is the same
//	           the previous of a page's first pair is (0, 0)
//	tail     version u8, segment base u64, segment end u64, pairs u64,
//	         pages × { first hash u64, first lsn u32, end of page u32 }
//
// # Checkpoint, version 1
//
//	version u8, base uv,
//	n uv, n × { hash u32, lsn − previous uv }    keys, in order of entries
//	n uv, n × { hash u64, lsn − previous uv }    ids
package keyindex
