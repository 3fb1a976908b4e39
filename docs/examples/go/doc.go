// SPDX-License-Identifier: Apache-2.0

// Command example sends a message with the official Go SDK of RocketMQ 5, and
// receives and acknowledges it. `mansio standalone` makes the topic and the
// group when they are first used. ENDPOINT says where the server is, by default
// 127.0.0.1:8081.
//
//	go run .
package main
