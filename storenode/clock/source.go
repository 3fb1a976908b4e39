// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Source reads the machine's clocks. Tests pass their own.
type Source func() Reading

// System reads the wall and CLOCK_BOOTTIME, which goes on while the machine is
// suspended.
func System() Reading {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return Reading{Mono: time.Since(started).Milliseconds(), Wall: wallMS()}
	}
	return Reading{Mono: ts.Nano() / int64(time.Millisecond), Wall: wallMS()}
}

var started = time.Now()

func wallMS() int64 { return time.Now().UnixMilli() + faultOffsetMS() }
