// SPDX-License-Identifier: Apache-2.0

// Package meta holds the rules of metadata: what is filled in when nothing is said,
// what may be changed later, and when two requests ask for the same thing; which
// names are legal says package names. Everything here is pure: no clock, no store,
// no network.
//
// Errors have kind Invalid, Exists or NotFound, and say what to do.
//
// A group always comes with a topic for its dead letters, %DLQ%name. It stays when
// the group is deleted, since it holds messages; a later group of that name gets it
// again. It can be deleted by itself only when its group is gone.
package meta
