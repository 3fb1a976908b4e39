// SPDX-License-Identifier: Apache-2.0

// Package flat is the byte form of what is folded from the log: the scalars in
// which views write their checkpoints, and the pages of which the sealed runs
// of an index file are made.
//
// # Scalars
//
//	u8, u32, u64   fixed width, little-endian
//	uv             unsigned varint, at most 10 bytes
//	sv             zigzag varint
//	str            uv length, then the bytes
//
// Encoder streams them to an io.Writer. Decoder reads them from memory; it is
// total: on bytes that are not what they must be it stops, remembers the first
// thing that was wrong, and answers zeros from then on. A decoder never makes
// its caller allocate more than a constant times the bytes it was given, if the
// caller asks Count for every number of items.
//
// # Pages
//
// A sealed run is a sequence of pages. A page is read and checked as a whole:
//
//	page  := payload ‖ crc32c(payload) u32
//
// PageWriter writes pages one behind the other and remembers where each ends;
// Pages reads page i through an io.ReaderAt. Which page holds what is the
// business of the run.
package flat
