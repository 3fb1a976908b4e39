// SPDX-License-Identifier: Apache-2.0

// Package raw is a thin gRPC client of the public protocol on the official module's generated code.
//
// It validates nothing, so tests can say what official clients refuse to say. A Client is one connection and one client
// id; it opens no telemetry stream and sends no heartbeat unless a test does.
package raw
