// SPDX-License-Identifier: Apache-2.0

// Package rocketmq is a small client of the public protocol, for the command
// line and the load generator: official calls only, so it works with any
// RocketMQ 5 proxy.
//
//	Client    one client id on one connection: headers, routes, sends
//	Consumer  a Client that has told the server its subscription over the
//	          telemetry stream, which other servers demand before a receive
//
// It sends no heartbeats: what it does lasts seconds, or is itself a sign of
// life. A status other than OK in an answer is a *StatusError.
package rocketmq
