// SPDX-License-Identifier: Apache-2.0

// Package handle makes and reads receipt handles: the text that names one
// delivery and that a client hands back to acknowledge or extend it.
//
// A handle carries all that is needed to settle the delivery, so any proxy can
// serve it, also one that started a moment ago. It is authentic: its MAC is
// made with a key that lives in the cluster's metadata.
//
// The text is base64url, without padding, of 73 bytes; integers are
// little-endian:
//
//	 0 version     u8   1
//	 1 key id      u32  which of the cluster's handle keys signed
//	 5 cluster     u32  low half of xxh64 of the cluster's UUID
//	 9 shard       u32
//	13 topic       u64  incarnation
//	21 group       u64  incarnation
//	29 queue       u64
//	37 offset      u64
//	45 term        u64  of the leader that granted
//	53 grant       u64  LSN of the grant: the delivery's name
//	61 generation  u32  of the group on the topic
//	65 mac         8 bytes: the first of HMAC-SHA-256 over bytes 0…64
//
// Whoever cannot sign cannot make the store do anything: a forged, truncated or
// foreign handle is refused here, without asking a shard.
package handle
