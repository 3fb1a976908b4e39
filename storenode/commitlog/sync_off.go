// SPDX-License-Identifier: Apache-2.0

//go:build nosync

package commitlog

import "github.com/mansiomq/mansio/storenode/disk"

func syncFile(disk.File) error { return nil }
