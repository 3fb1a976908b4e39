// SPDX-License-Identifier: Apache-2.0

//go:build faults

package clock

import (
	"os"
	"strconv"
	"strings"
)

// faultOffsetMS steps the wall in tests: the file named by MANSIO_FAULT_CLOCK
// holds an offset in milliseconds. A missing or unreadable file is no offset.
func faultOffsetMS() int64 {
	b, err := os.ReadFile(os.Getenv("MANSIO_FAULT_CLOCK"))
	if err != nil {
		return 0
	}
	ms, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return ms
}
