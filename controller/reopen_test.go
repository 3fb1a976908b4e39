// SPDX-License-Identifier: Apache-2.0

//go:build fulldisk

package controller

import (
	"math"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// When etcd could not prepare a file of its log it is opened again, as soon as there is space for it, and the
// process goes on.
func TestReopen(t *testing.T) {
	path := t.TempDir()
	resize := func(flags uintptr, size string) {
		if err := unix.Mount("tmpfs", path, "tmpfs", flags, "size="+size); err != nil {
			t.Fatal(err) // only root can
		}
	}
	resize(0, "9m") // one file of the log, but not two
	w := realWorld(t)
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	var asked atomic.Int64
	var grown atomic.Bool
	refused := make(chan struct{})
	c, stop := w.run("controller", Config{Data: folder(t, path), Embedded: true, Free: func(string) (int64, int64, error) {
		n := asked.Add(1)
		if n == 1 || grown.Load() { // the start is let through
			return math.MaxInt64, math.MaxInt64, nil
		}
		if n == 2 {
			close(refused)
		}
		return 0, 0, nil
	}})
	<-refused
	if c.Leads() {
		t.Error("it leads without a cluster in etcd")
	}
	resize(unix.MS_REMOUNT, "96m")
	grown.Store(true)
	<-c.Ready()
	table := w.watch("proxy p1")
	w.node("n1", nil)
	await(t, table, "two led shards", allLed(2))
	if err := stop(); err != nil {
		t.Error(err)
	}
}
