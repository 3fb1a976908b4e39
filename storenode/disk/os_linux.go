// SPDX-License-Identifier: Apache-2.0

package disk

import "golang.org/x/sys/unix"

func fdatasync(fd int) error {
	for {
		if err := unix.Fdatasync(fd); err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}
