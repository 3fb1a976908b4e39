// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package disk

import "golang.org/x/sys/unix"

func fdatasync(fd int) error {
	for {
		if err := unix.Fsync(fd); err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}

// dropCache does nothing: there is no portable way.
func dropCache(int, int64) error { return nil }
