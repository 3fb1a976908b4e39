// SPDX-License-Identifier: Apache-2.0

// Package catalog is the view of which topics and groups a shard has been told
// of: the newest Config entry of each, its bytes unread.
//
// Newer means a greater (restore epoch, revision); older entries, and repeated
// ones, change nothing, so it does not matter how often a configuration is
// logged. A deletion is remembered for ever: ids are never used again, and
// nothing that names a deleted one shall come back to life.
//
// Start rules of a group on a topic are not kept here: their entries are named by
// the group alone, so that two topics' rules would be taken for one object. The
// delivery view has them, and takes one that is repeated as it was.
//
// # Checkpoint, version 1
//
//	version u8, n uv, n × { kind u8, id uv, restore_epoch uv, revision uv, deleted u8, bytes str }
//
// sorted by kind and id.
package catalog
