// SPDX-License-Identifier: Apache-2.0

// Package assembly is the one place where roles are joined: which of controller,
// store node and proxy live in this process, and how they reach each other. Every
// way to run Mansio, standalone included, is a Config for Run; no test or command
// wires the parts a second time.
//
//	part         needs                      reached by others through
//	etcd         data folder                the controller only
//	controller   etcd                       its gRPC listener, and in this process by name
//	store node   controllers, data folder   its gRPC listener, and in this process directly
//	proxy        controllers, store nodes   the client listener
//	HTTP         all of the above           its listener: health, metrics, profiles
//
// Only two things know whether a peer is this process: the dialer (control
// calls) and the peer registry (data path). Parts start in the order of the table
// and stop in reverse: clients are let go first, the disk is closed last.
package assembly
