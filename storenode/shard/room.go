// SPDX-License-Identifier: Apache-2.0

package shard

import "fmt"

const (
	// innerMargin is kept free on a full disk beside what an operation says that it
	// needs: for the entries that come with it, such as a configuration.
	innerMargin = 16 << 10
	// takenBytes, settledBytes and renewedBytes bound what one message, one
	// settlement and one client add to the log.
	takenBytes   = 32
	settledBytes = 96
	renewedBytes = 320
)

// shortage says how much space there is, and how much messages from clients need.
func (s *Shard) shortage() string {
	if !s.space.Low {
		return fmt.Sprintf("no block could be prepared in %s; %d bytes are free", s.o.Dir, s.space.FreeBytes)
	}
	return fmt.Sprintf("%d bytes are free in %s, %d are needed", s.space.FreeBytes, s.o.Dir, s.space.NeededBytes)
}

// innerRoom reports whether the log surely takes n more bytes that are not
// messages from clients. On a full disk those go on in what is prepared and in
// the spare; before that is used up they are refused, so that the writer never
// waits for space, and a Trim, which makes space, always finds its place.
func (s *Shard) innerRoom(n int) bool {
	return !s.space.Full || int64(s.tail.end-s.spaceEnd)+int64(n)+innerMargin <= s.space.InnerBytes //nolint:gosec // bytes of one batch or two
}
