// SPDX-License-Identifier: Apache-2.0

// Package etcd gives the controller its etcd: one inside this process, or a
// connection to one outside.
//
// Embedded, it is a cluster of one member in a folder of its own. It syncs every
// commit to disk. Its listeners are on the loopback interface, on ports that the
// system picked: nothing of ours needs them (calls go straight into the server),
// they serve `etcdctl`. It compacts its history by itself.
//
// External, etcd belongs to its operators: nothing is compacted or defragmented,
// and all keys stay under one prefix.
package etcd
