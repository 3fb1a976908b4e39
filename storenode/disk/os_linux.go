// SPDX-License-Identifier: Apache-2.0

package disk

import "golang.org/x/sys/unix"

func fdatasync(fd int) error {
	for {
		if err := unix.Fdatasync(fd); err != unix.EINTR {
			return err
		}
	}
}

// largestFolio is more than any piece in which the kernel caches files: it keeps
// pieces of which only a part is to go.
const largestFolio = 2 << 20

func dropCache(fd int, off int64) error {
	return unix.Fadvise(fd, off&^(largestFolio-1), 0, unix.FADV_DONTNEED)
}
