// SPDX-License-Identifier: Apache-2.0

// Package clients holds the conformance suite that talks to a running mansio the way Go users do, and the raw suite
// that says things no official client would say.
//
// It is a Go module of its own. The official SDK registers the protobuf names of package apache.rocketmq.v2, and so do
// the generated files of the main module: one binary with both panics at start. So nothing here imports the main
// module; the server is a process, and our descriptors are read from proto/baseline.binpb.
//
// # What runs
//
//	sdk_*_test.go     the official Go SDK, unmodified, over TLS (its default) and over plaintext
//	raw_*_test.go     a gRPC client on the official module's generated code: every limit, every code, every first call
//	descriptors       our protocol files against the official module's descriptors, field by field
//	kill              producers and consumers while the process is killed at random moments and restarted
//	split             controller, two store nodes and two proxies as processes
//
// # Environment
//
//	MANSIO        path of the binary; unset: it is built from the main module
//	MANSIO_KILLS  how many times the kill test kills (default 3)
//	SLOW          1: also the cases that outlive a lease of 60 s
//
// Servers listen on 127.0.0.1 only and are stopped by process id.
package clients
