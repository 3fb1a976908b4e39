// SPDX-License-Identifier: Apache-2.0

// Package storewire is the remote half of the data path: operations of package
// storeapi over two gRPC streams per pair of proxy and store node.
//
//	proxy                                              store node
//	Peer.Submit ─▶ lane write ─ OpBatch ─▶ Exchange ─▶ session ─▶ Target.Submit
//	               lane read  ◀ ReplyBatch ───────────  session ◀─ Op.Done
//
// A Peer has two lanes: Append, Settle and Alive travel on the write lane, all
// else on the read lane, so that large answers never delay a write. Each lane
// is one stream with one goroutine that sends and one that receives. The sender
// drains what is queued into one message and never waits for more to come.
//
// # What a Peer promises
//
// The contract of package storeapi, and these:
//
//   - Before the first connection attempt has ended, and while a broken stream
//     is being replaced, operations wait in the queue. Once an attempt has
//     failed they are answered Unavailable at once, until one succeeds.
//   - When a stream breaks, operations that had been handed to it are answered
//     Unknown, the others wait for the next attempt.
//   - A store that stops says so first; then every operation that was handed to
//     the stream is answered by the store itself, and the others Unavailable.
//   - An operation whose deadline passed before it was handed to the stream is
//     answered Expired and never leaves. One that was handed over is answered
//     Unknown graceMS after its deadline if the store is silent till then.
//   - OpsMax operations and ParksMax Parks are in flight at most, with BytesMax
//     bytes of payloads: beyond, Overloaded.
//
// # What a Server promises
//
//   - One goroutine owns Send on each stream. A proxy that stops reading delays
//     only itself: at most BytesMax bytes of answers are leased or waiting for
//     one stream; further Takes wait until some have left, or expire.
//   - Park numbers of different streams never meet: the target sees numbers
//     that the Server made.
//   - When a stream breaks, its Parks are ended, a Ready that could not be
//     delivered is declined, and what a Take leased in vain is given back
//     without counting as an attempt.
//   - A panic while an operation is decoded or submitted ends that stream only.
//
// # Bytes
//
// proto/mansio/store/v1 says what every byte means. Both ends write and read it
// by hand (encode*.go, decode*.go), without generated code: a payload is copied
// once into the outgoing message and never again out of the incoming one, which
// its slices share. Lengths of nested messages are written as four-byte
// varints, which every decoder accepts, so that nothing has to be counted
// before it is written. Tests hold this against the generated code.
//
//	message on a stream ≤ frameMax
//	Op or Reply longer than partMin, once encoded: cut into parts, one per
//	message, between other operations
package storewire
