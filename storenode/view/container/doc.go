// SPDX-License-Identifier: Apache-2.0

// Package container is the file in which derived state stands beside the log:
// the index of a sealed segment, a checkpoint. Such a file is written once, as a
// whole, and never changed; it can be made again from the log.
//
// # Format
//
//	 0  magic      8 bytes   what kind of file
//	 8  format     u32       version of the kind
//	12  head_len   u32
//	16  head                head_len bytes, the kind's own
//	    head_crc   u32       CRC-32C of everything before it; then zeros up to a multiple of 8
//	    sections             each starts at a multiple of 8, zeros between
//	    table                per section: kind u32, crc u32, offset u64, length u64
//	    footer     32 bytes: table offset u64, sections u32, head_crc u32,
//	                         crc u32 of table and of the footer before it, zero u32, magic
//
// All integers are little-endian. The table ends where the footer begins, and
// the footer ends the file, so that a cut or extended file is noticed at once.
//
// # Promises
//
// Write makes the file durable under its name as a whole: bytes go to a temporary
// name, are synced, renamed, and the directory is synced. The
// caller's part is the rule of write-ahead logs: a file that was derived from the
// log up to some LSN is written only after the log is synced up to it.
//
// Open checks head, table and footer; a section's bytes are checked by Verify, or
// by their own reader page by page. What a file's bytes say is never trusted
// before that, and a damaged file is an error, never a reason to delete anything.
package container
