// SPDX-License-Identifier: Apache-2.0

//go:build fulldisk

package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mansiomq/mansio/internal/fault"
)

// smallDisk is a file system of that size; only root can make one.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func free(dir string) (int64, int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, err
}

// fill takes every byte of a disk but some; the file's name is returned.
func fill(t *testing.T, dir string, leave int64) string {
	t.Helper()
	left, _, err := free(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "fill")
	if err := os.WriteFile(name, make([]byte, left-leave), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// On a disk without a free byte what is under way is written, nothing new is begun, and a stop is clean.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, 96<<20)
	options := EmbeddedOptions{Dir: filepath.Join(disk, "etcd"), Free: free}
	e, err := StartEmbedded(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Room(true); err != nil {
		t.Fatal(err)
	}
	filled := fill(t, disk, 0)
	if err := e.Room(true); !fault.Is(err, fault.DiskFull) {
		t.Errorf("%v", err)
	}
	value := strings.Repeat("v", 32<<10)
	for i := 0; e.Room(false) == nil; i++ {
		if _, err := e.Client.Put(t.Context(), fmt.Sprint("k", i), value); err != nil {
			t.Fatal(err)
		}
		e.server.Server.Backend().ForceCommit()
		if i > 10*reserveBytes/len(value) {
			t.Fatal("the reserve has no end")
		}
	}
	if err := os.Remove(filled); err != nil {
		t.Fatal(err)
	}
	if err := e.Room(true); err != nil {
		t.Error(err)
	}
	fill(t, disk, 0)
	if _, err := e.Client.Put(t.Context(), "last", value); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filled); err != nil {
		t.Fatal(err)
	}
	e, err = StartEmbedded(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Client.Get(t.Context(), "last"); err != nil || got.Count != 1 {
		t.Errorf("%v %v", got, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// A server that could not prepare the next file of its log takes no writes, and asks to be opened again when the
// disk has space.
func TestNoSegment(t *testing.T) {
	disk := smallDisk(t, 96<<20)
	lies := atomic.Bool{}
	options := EmbeddedOptions{Dir: filepath.Join(disk, "etcd"), Free: func(dir string) (int64, int64, error) {
		if lies.Load() {
			return 1 << 30, 1 << 30, nil
		}
		return free(dir)
	}}
	lies.Store(true)
	filled := fill(t, disk, segmentBytes+1<<20)
	e, err := StartEmbedded(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for !e.room.stale.Load() {
		runtime.Gosched() // the file is prepared beside the start
	}
	lies.Store(false)
	if err := e.Room(false); !fault.Is(err, fault.DiskFull) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(filled); err != nil {
		t.Fatal(err)
	}
	if err := e.Room(true); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if err := e.Failed(t.Context()); !errors.Is(err, ErrReopen) {
		t.Errorf("%v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	e, err = StartEmbedded(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Room(true); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
