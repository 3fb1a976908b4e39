// SPDX-License-Identifier: Apache-2.0

// Package reconcile carries out what package plan decides: it makes shards, elects
// their leaders, and spreads topics over new shards.
//
// # Level-triggered
//
// A round asks plan.Next what to do with the state as it is and starts those
// actions that are not under way. Rounds follow changes of the metadata and of
// sessions, and come once a second anyway, so nothing depends on a notification.
// Everything that is done is a compare-and-swap on the state that it was planned
// for, or a call that may be repeated; a failed action is simply planned again,
// after a pause that grows.
//
// # One election
//
//	compare-and-swap   term + 1, ELECTING, no leader
//	Fence              to every member of the in-sync set, in parallel
//	plan.Choose        the winner, or why there is none
//	compare-and-swap   leader and its instance, clock, STEADY
//	Lead               to the winner; the metadata watch tells it as well
//
// The term that an attempt raised is used by that attempt alone. When it fails the
// next one raises the term again, here or in another controller.
//
// # One creation
//
//	counters           a new shard id and incarnation, committed before use
//	Create             to the node; durable when it answers
//	compare-and-swap   the shard's key, replicas = in_sync = exactly that replica
//
// What was made and not entered is adopted in a later round.
package reconcile
