// SPDX-License-Identifier: Apache-2.0

// Package rpc is all of gRPC that is not business, for the services by which
// Mansio's own processes talk to each other: servers, connections, who may call,
// and how errors cross the wire.
//
// # Near and far
//
// Code is written against generated clients over a connection; only a Dialer
// knows whether an address is this process. Dialer.Listen registers an address
// as local and returns a listener in memory, to be served beside the one on the
// network; Dialer.Conn then reaches it without a socket. Everything else is the
// same path: deadlines, codes, credentials, limits.
//
// # Errors
//
// A handler returns errors of package fault. Their kind travels as a gRPC code
// and, because several kinds share a code, as a google.rpc.ErrorInfo detail
// {domain: "mansio", reason: kind}. On the other side connections of a Dialer
// return a fault.Error of the same kind; status.Code works on it as well. An
// error without a kind has code UNKNOWN. A panic of a handler answers INTERNAL,
// is logged with its stack and counted, and ends nothing but that call.
//
// # Who may call
//
// A Guard holds two optional secrets, read from files.
//
//	cluster secret   with one, every caller of an internal service presents a token derived from it, in
//	                 this process too; without one only callers on the loopback interface are let in,
//	                 and CheckListen refuses to listen anywhere else
//	admin token      with one, administrators present it as `authorization: Bearer TOKEN`; without one
//	                 only callers on the loopback interface may administer. A caller with the cluster
//	                 secret may always: a proxy checks administrators itself before it forwards
//
// Tokens are compared in constant time. They keep strangers out; they do not
// hide anything from somebody who can read the network's traffic.
package rpc
