// SPDX-License-Identifier: Apache-2.0

// Package session remembers who is connected. Nothing in it is needed for any
// answer to be right: a proxy that has never seen a client serves it all the
// same. It knows
//
//   - when a client last gave a sign of life: any RPC, an open telemetry stream
//     or a waiting receive. Proxies pass the signs on to the shards, where they
//     keep auto-renewed leases and subscriptions alive;
//   - what a client consumes, from its settings and its receives, so that the
//     shards know whose filters count;
//   - the client's open telemetry streams, for commands.
//
// # Bounds
//
//   - A client is forgotten ExpiryTime after its last sign of life. One sweep
//     looks at all; there is no goroutine or timer per client.
//   - At most Max clients are remembered. A later one takes the place of one that
//     consumes nothing; if none is found, or the later one does nothing but calls
//     that are refused, it is served, but its signs of life are not passed on.
//   - A client that consumes more than fits keeps what it has; its further
//     filters count as unknown, so that nothing is withheld from it. So it is when
//     all clients together consume more than fits into the memory for that.
//   - A stream whose client does not read gets no further commands once
//     commandsMax are waiting for it.
//
// Locks: of a part of the registry, then of a client.
package session
