// SPDX-License-Identifier: Apache-2.0

// Package datadir is the data folder of a process: who may use it, and whose it is.
//
//	DATA/
//	    LOCK                     held (flock) by the process that uses the folder; says who it is
//	    identity                 which cluster and node the data belong to, and in which format
//	    etcd/                    embedded etcd of a controller
//	    store/shard-NNNNNN/      one replica of a shard
//	    tls/                     the certificate that was made at the first start
//
// # Promises
//
//   - One process uses a folder at a time. The lock ends with the process, however
//     it ends, so it also proves that a predecessor is dead.
//   - The identity is written durably before anything that depends on it, and
//     replaced as a whole. It never changes sides: a folder of another cluster or
//     node, or of a newer format, is refused with an error that names the remedy.
//   - Unreadable is not absent: a damaged identity, or data without one, is an
//     error. Nothing is ever reset silently.
//
// The identity's text form is docs/formats/identity.md.
package datadir
