// SPDX-License-Identifier: Apache-2.0

// Package run holds the parts of a process together: they start in order, stop
// in reverse, and nothing is left running when Group.Run returns.
//
//	part 1 ──ready──▶ part 2 ──ready──▶ part 3 ──ready──▶ Group.Ready
//	                                                        │ ctx done, or a part ended
//	part 1 ◀──ended── part 2 ◀──ended── part 3 ◀──cancel────┘
//
// A part is a function that blocks until its context is done. It says ready when
// the parts behind it may use it; until then the next one is not started. Each
// part has a context of its own, cancelled only when all parts behind it have
// ended, so a part may count on those before it until its very last line.
//
// A part that ends by itself, with or without an error, ends the group.
package run
