// SPDX-License-Identifier: Apache-2.0

// Package meta holds the rules of metadata: which names are legal, what is filled
// in when nothing is said, what may be changed later, and when two requests ask
// for the same thing. Everything here is pure: no clock, no store, no network.
//
// Errors have kind Invalid, Exists or NotFound, and say what to do.
//
//	topic name   1 to 127 of letters, digits, % | _ -, and not one of RocketMQ's system topics
//	group name   1 to 120 of the same, and not one of RocketMQ's system groups
//	reserved     names that begin with %DLQ% or %RETRY%: the first are made together with
//	             their group, the second do not exist here
//
// A group always comes with a topic for its dead letters, %DLQ%name. It stays when
// the group is deleted, since it holds messages; a later group of that name gets it
// again. It can be deleted by itself only when its group is gone.
package meta
