// SPDX-License-Identifier: Apache-2.0

// Package metastore keeps the metadata: small objects under keys, changed by
// compare-and-swap, watched from any revision. Etcd is the real one, embedded or
// external; Memory serves tests and simulations. Both pass one conformance suite.
//
// # Model
//
// The store has one revision, which grows with every commit. An entry's revision
// is that of the commit that wrote it last. A commit names the revisions that it
// counts on; it changes everything it lists at one new revision, or nothing.
// A watch delivers every commit that touches its prefix, in order, exactly once,
// each as one batch. Old revisions may be compacted away: a watch that asks for
// them fails with ErrCompacted, and its owner lists again and watches from there.
//
// # Keys
//
//	/mansio/{cluster}/v1/
//	    cluster                      control/v1 Cluster
//	    ids                          control/v1 Ids: the counters
//	    topics/{name}                control/v1 Topic
//	    groups/{name}                control/v1 Group
//	    starts/{group}/{topic}       control/v1 Start; ids as 16 hex digits
//	    shards/{id}                  control/v1 Shard; id as 10 decimal digits
//	    nodes/{name}                 control/v1 Node
//	    controllers/{lease}          control/v1 Candidate; the oldest one leads
//
// Values are protobuf messages. Their field `revision` is never stored: readers
// fill it with the entry's revision. docs/formats/etcd.md is the full text.
package metastore
