// SPDX-License-Identifier: Apache-2.0

//go:build !faults

package clock

func faultOffsetMS() int64 { return 0 }
