// SPDX-License-Identifier: Apache-2.0

// Package etcd gives the controller its etcd: one inside this process, or a
// connection to one outside.
//
// Embedded, it is a cluster of one member in a folder of its own. It syncs every
// commit to disk. Its listeners are on the loopback interface, on ports that the
// system picked: nothing of ours needs them (calls go straight into the server),
// they serve `etcdctl`. It compacts its history by itself.
//
// Etcd gives up, for good, when a write finds no space on the disk. So it never
// gets there: Room refuses new entries while there is little, and what etcd writes
// all the same finds its blocks allocated before.
//
//	member/wal/       ▓▓▓▓▓░░░ the file that is filled, ░░░░░░░░ the next one
//	member/snap/db    ▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░░░░░░░ used, and the reserve behind it
//
// If it gives up anyway, the owner is told why and ends the process.
//
// External, etcd belongs to its operators: nothing is compacted or defragmented,
// and all keys stay under one prefix.
package etcd
