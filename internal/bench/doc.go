// SPDX-License-Identifier: Apache-2.0

// Package bench generates load over the public protocol, measures, and keeps a
// ledger of what was sent and received. It uses official calls only, so it works
// against any RocketMQ 5 proxy.
//
//	Send     messages to a topic
//	Receive  messages of a topic, with acknowledgement
//	E2E      both at once, with the ledger
//	Compare  the same sends against a bare gRPC echo, alternating: how much of
//	         what gRPC itself can do is left
//
// # Loops
//
// In a closed loop InFlight workers each start the next operation when the last
// one has ended. In an open loop operations start at a fixed rate, whatever
// became of the ones before; their latency counts from the moment at which they
// should have started, so a server that stalls is charged with all the
// operations that it kept waiting (no coordinated omission). Operations that
// start during the warm-up are not counted.
//
// # Ledger
//
// Each message carries the run, the producer, and a sequence number in its body:
//
//	 0 magic    "mbench1\n"
//	 8 run      u64   random per run
//	16 producer u32
//	20 zero     u32
//	24 seq      u64   from 0, per producer
//	32 sent     i64   Unix nanoseconds of the first try
//	40 filler
//
// A send that was answered OK is acknowledged; any other is tried again with the
// same message until it is. Afterwards:
//
//	lost       acknowledged and never received: must be 0
//	duplicate  received more often than once
//	returned   received again after its acknowledgement was answered OK: must be 0.
//	           A message whose send was tried twice may be stored twice, so it
//	           counts as a duplicate only
//	foreign    received, but not of this run
//
// # Yardstick
//
// The echo server is a process of its own: grpc-go with its defaults, generated
// code, 64 MiB of live heap (so that how often the collector runs does not decide),
// the same TLS mode and number of connections. Rounds alternate between echo and
// server; reported is the median of the ratios of the rounds.
package bench
