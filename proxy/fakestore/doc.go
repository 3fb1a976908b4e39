// SPDX-License-Identifier: Apache-2.0

// Package fakestore is a store node in memory for the tests of the proxy: as
// much of a shard's meaning as a proxy can see, and a way to make it fail.
//
// It keeps the contract of package storeapi and passes its conformance suite.
// Every shard number that is asked for exists and is led by the node. Operations
// are answered from the goroutine that submits them, except Parks. Rules that can
// be told from outside hold: repetitions of a sequence number are stored once,
// deliveries are named by their grant, leases pass in time, a Ready that nobody
// follows goes to the next waiter.
//
// Intercept sees each operation first and may answer in the store's place, also
// later or never.
package fakestore
