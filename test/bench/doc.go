// SPDX-License-Identifier: Apache-2.0

// Command bench measures Mansio against its own goals and prints one table: what
// was measured, what is demanded, and whether it is met. It starts every server
// itself, on ports of its own, with data in a temporary folder.
//
//	go run ./test/bench -bin ./bin/mansio [-only REGEXP] [-quick]
//
// Throughput, latency and CPU are ratios to a bare gRPC echo of the same sends in
// the same run (package internal/bench says how), so that they mean the same on
// any machine; absolute figures stand beside them. The exit code is 1 when a
// demand is missed. -quick shortens everything and is for trying the program.
package main
