// SPDX-License-Identifier: Apache-2.0

//go:build !nosync

package commitlog

import "github.com/mansiomq/mansio/storenode/disk"

// syncFile makes a file durable. Built with the tag nosync it does nothing, so
// that a suite can show that it notices.
func syncFile(f disk.File) error { return f.Sync() }
