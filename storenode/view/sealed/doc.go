// SPDX-License-Identifier: Apache-2.0

// Package sealed keeps what was derived from the sealed segments of a log, one
// run per segment, for readers that are not the shard's owner.
//
// An Archive is a list of runs in log order. Readers take a snapshot, which
// never changes; writers replace the list as a whole. A run that leaves the
// archive is closed if it has a file.
//
// Invariant: runs neither overlap nor go backward; gaps are allowed, since a run
// can be missing until it is rebuilt.
package sealed
