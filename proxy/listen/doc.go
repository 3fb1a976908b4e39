// SPDX-License-Identifier: Apache-2.0

// Package listen is the client port: TLS and plaintext HTTP/2 on one address,
// told apart by the first byte, optionally behind a load balancer that speaks
// the PROXY protocol.
//
//	accept ─▶ [PROXY header v1 or v2] ─▶ first byte 0x16? ─▶ TLS, ALPN h2 ─▶ HTTP/2
//	                                     else ───────────────────────────▶ HTTP/2
//
// # Promises
//
//   - Whatever a connection does or does not send, it speaks HTTP/2 handshakeMax
//     after it was accepted, or it is closed. It delays no other: each is shaken
//     by a goroutine of its own. At most ConnectionsMax are open; beyond, a
//     connection is closed as soon as it is accepted.
//   - Certificates come from files, looked at again every checkEvery while
//     connections come, and taken over when they have changed and fit together;
//     connections that are open stay. Without files the certificate is self-signed, kept in a
//     directory if there is one, so that clients can trust it across restarts.
//   - The address of a client is that of the PROXY header, if there is one; Via
//     in the connection's Info is always the real other end. A PROXY header can
//     claim any address, so nothing may be granted by the claimed one alone: see
//     Local.
package listen
