// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/mansiomq/mansio/internal/fault"
)

// holderBytesMax is how much of the lock file is quoted to whoever comes second.
const holderBytesMax = 200

// takeLock locks the file and writes into it who holds it. The lock lasts until
// the file is closed or the process is gone.
func takeLock(path, holder string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, fault.Errorf("", fault.Invalid, "%w: the folder must be writable, or choose another --data", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		who, _ := io.ReadAll(io.LimitReader(file, holderBytesMax))
		return nil, errors.Join(fault.Errorf("", fault.Unavailable,
			"%s is in use by %s: stop that process, or choose another --data",
			strings.TrimSuffix(path, "/"+lockName), holderText(who)), file.Close())
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(file, "%s, process %d\n", holder, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fault.Errorf("", fault.Invalid, "lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

func holderText(content []byte) string {
	line, _, _ := strings.Cut(string(content), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "another process"
	}
	return line
}
