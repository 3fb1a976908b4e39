// SPDX-License-Identifier: Apache-2.0

// Package peertest holds the conformance suite of the data path: what a proxy
// may rely on, whichever peer it talks to.
//
//	Run    the suite; it opens a fresh Env for each case and judges only what
//	       comes back through Done
//	Store  a store in memory with just enough of a shard's meaning to pass the
//	       suite: one queue, leases, parks, tags. Tests put it behind a peer.
//
// The suite runs over Store directly, over Store behind two streams, and over
// the real store node both ways.
package peertest
