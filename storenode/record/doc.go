// SPDX-License-Identifier: Apache-2.0

// Package record holds the nouns of a shard's log and their bytes. The log is
// the only truth: what a message, a delivery, an acknowledgement or a piece of
// configuration is, is said here and nowhere else.
//
// # Entry
//
// An entry is a 48-byte header and a body; the next entry starts at the next
// multiple of 8. All integers are little-endian.
//
//	 0 len          u32  header + body, without the padding
//	 4 crc          u32  CRC-32C of bytes [8, len)
//	 8 prev_crc     u32  crc of the entry before, 0 for the first of a log
//	12 type         u8   what the body is
//	13 version      u8   of the body's encoding
//	14 flags        u16  none defined; must be 0
//	16 lsn          u64  where the entry stands: its own address
//	24 term         u64  the reign in which it was written
//	32 time_ms      i64  log time: the leader's clock, never going back
//	40 commit_back  u32  (lsn − commit when it was sequenced) >> 3, saturated
//	44 zero         u32
//
// The chain of CRCs makes stale bytes of a recycled file or of a cut tail
// unable to continue the log; the self-address finds misdirected reads and
// writes; commit_back of a later entry proves that an unreadable earlier one
// had been committed, which tells corruption from a torn tail.
//
// # Bodies
//
// Bodies of Message, Timer, Half and DeadLetter end with a payload of package
// internal/message. All other bodies are sequences of unsigned varints (uv),
// zigzag varints (sv) and length-prefixed bytes (str), drawn above each type's
// codec. Type numbers and encodings are for ever; an encoding changes by a new
// version, which applies only when every replica can read it.
package record
