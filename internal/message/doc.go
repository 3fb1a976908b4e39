// SPDX-License-Identifier: Apache-2.0

// Package message is the byte form in which one user message travels from the
// proxy to the log and back:
//
//	payload = head ‖ sys ‖ rest
//
//	head, little-endian
//	 0 topic      u64    incarnation
//	 8 queue      u64
//	16 proxy      u64    incarnation of the proxy that sent it; with seq it tells
//	24 seq        u64    a replay from a new message
//	32 id_hash    u64    xxh64 of the message id
//	40 born_ms    i64
//	48 tag_hash   u32    low half of xxh64 of the tag; 0 = no tag
//	52 sys_len    u32
//	56 group_hash u64    xxh64 of the message group; 0 = no message group
//	64 n          u16    number of key hashes
//	66 key_hash   u32×n  low halves of xxh64
//
//	sys   the client-owned fields of SystemProperties and the body's MD5, in
//	      protobuf encoding; field numbers of apache.rocketmq.v2.SystemProperties
//	rest  apache.rocketmq.v2.Message without fields 1 (topic) and 3 (system
//	      properties), in protobuf encoding, unknown fields kept
//
// The store reads the head only. A delivery is topic ‖ rest ‖ one field 3 made
// of sys and the dynamic fields, so neither store nor proxy parses a body.
package message
