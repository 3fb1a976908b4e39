// SPDX-License-Identifier: Apache-2.0

// Package metadata is what a process knows of topics, groups, starts, shards and
// nodes: a table in memory that a watch of the controller keeps up to date.
//
//	controller ──Watch: whole state, then changes──▶ Watcher ──▶ Table ──▶ Snapshot (immutable)
//	           ◀──────────── applied revision ──────────┘          └──▶ listeners (OnApply)
//
// # Promises
//
//   - A Snapshot never changes; everything in it is of one revision. Lookups take
//     no lock and allocate nothing, so every request may do several.
//   - A change costs what it changes, not what there is: maps are kept in parts,
//     and a new snapshot shares all parts but the touched ones with the old one.
//   - Revisions only grow. A controller that is behind what the table has seen is
//     refused until it has caught up, and so is one of another cluster.
//   - Listeners run one at a time, in order of revisions, after the snapshot is
//     visible. A revision counts as applied when all listeners have returned: only
//     then WaitRevision returns and the controller hears of it. So whoever was told
//     that a topic exists finds it, together with all that follows from it.
//   - When no controller answers, the table stays as it is: what was known goes on
//     working, only changes wait.
//
// Objects are the messages of control/v1. They are shared: never change one.
// Their field revision is filled: the revision at which the object last changed.
package metadata
