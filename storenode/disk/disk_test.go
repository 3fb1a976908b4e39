// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// eachFS runs the test on every implementation, in an empty directory.
func eachFS(t *testing.T, test func(t *testing.T, fs FS, dir string)) {
	t.Helper()
	t.Run("os", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	t.Run("memory", func(t *testing.T) {
		m := NewMemory()
		must(t, m.MkdirAll("/d"))
		test(t, m, "/d")
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fs FS, name, content string) {
	t.Helper()
	f, err := fs.Open(name, Create)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func content(t *testing.T, fs FS, name string) string {
	t.Helper()
	b, err := ReadFile(fs, name)
	must(t, err)
	return string(b)
}

func TestFlags(t *testing.T) {
	eachFS(t, func(t *testing.T, fs FS, dir string) {
		name := filepath.Join(dir, "f")
		for _, flag := range []Flag{ReadOnly, ReadWrite} {
			if _, err := fs.Open(name, flag); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("flag %d of an absent file: %v", flag, err)
			}
		}
		create(t, fs, name, "x")
		if _, err := fs.Open(name, Exclusive); !errors.Is(err, iofs.ErrExist) {
			t.Errorf("exclusive open of an existing file: %v", err)
		}
		f, err := fs.Open(name, ReadOnly)
		must(t, err)
		if _, err := f.WriteAt([]byte("y"), 0); err == nil {
			t.Error("a file opened for reading was written")
		}
		must(t, f.Close())
		f, err = fs.Open(name, Create)
		must(t, err)
		if size, err := f.Size(); size != 1 || err != nil {
			t.Errorf("Create of an existing file: size %d, %v", size, err)
		}
		must(t, f.Close())
		if err := f.Sync(); err == nil {
			t.Error("a closed file was synced")
		}
		if _, err := fs.Open(filepath.Join(dir, "no", "f"), Create); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("create in an absent directory: %v", err)
		}
	})
}

func TestReadsAndWrites(t *testing.T) {
	eachFS(t, func(t *testing.T, fs FS, dir string) {
		f, err := fs.Open(filepath.Join(dir, "f"), Create)
		must(t, err)
		defer f.Close()
		want := make([]byte, 10000)
		for _, at := range []int{0, 511, 4095, 4096, 9000} {
			piece := bytes.Repeat([]byte{byte(at%250 + 1)}, 700)
			n, err := f.WriteAt(piece, int64(at))
			if n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
			copy(want[at:], piece)
		}
		want = want[:9700]
		got := make([]byte, 20000)
		n, err := f.ReadAt(got, 0)
		if n != 9700 || !errors.Is(err, io.EOF) {
			t.Errorf("read beyond the end: %d, %v", n, err)
		}
		if diff := cmp.Diff(want, got[:n]); diff != "" {
			t.Error(diff)
		}
		if n, err := f.ReadAt(got[:700], 9000); n != 700 || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("read up to the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(got[:1], 50000); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read behind the end: %d, %v", n, err)
		}
		must(t, f.Truncate(600))
		must(t, f.Truncate(800))
		must(t, DropCache(f, 0))
		n, _ = f.ReadAt(got, 0)
		if n != 800 || !allZero(got[600:800]) || !bytes.Equal(got[:600], want[:600]) {
			t.Errorf("after truncating to 600 and 800: %d bytes, % x", n, got[590:610])
		}
	})
}

func TestNames(t *testing.T) {
	eachFS(t, func(t *testing.T, fs FS, dir string) {
		p := func(name string) string { return filepath.Join(dir, name) }
		create(t, fs, p("b"), "b")
		create(t, fs, p("a"), "a")
		must(t, fs.MkdirAll(p("c/d")))
		must(t, fs.MkdirAll(p("c/d")))
		names, err := fs.List(dir)
		must(t, err)
		if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
			t.Error(diff)
		}
		open, err := fs.Open(p("b"), ReadWrite)
		must(t, err)
		must(t, fs.Rename(p("a"), p("b")))
		if got := content(t, fs, p("b")); got != "a" {
			t.Errorf("after the rename b holds %q", got)
		}
		if _, err := open.WriteAt([]byte("B"), 0); err != nil {
			t.Errorf("a replaced file cannot be written any more: %v", err)
		}
		must(t, open.Close())
		if got := content(t, fs, p("b")); got != "a" {
			t.Errorf("writing the replaced file changed the new one to %q", got)
		}
		must(t, fs.Rename(p("b"), p("c/d/e")))
		must(t, fs.SyncDir(p("c/d")))
		must(t, fs.Remove(p("c/d/e")))
		for _, err := range []error{fs.Remove(p("a")), fs.Rename(p("a"), p("x")), fs.SyncDir(p("no"))} {
			if !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("want not exist, got %v", err)
			}
		}
		if _, err := fs.List(p("no")); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("list of an absent directory: %v", err)
		}
		create(t, fs, p("file"), "")
		if err := fs.MkdirAll(p("file/sub")); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("directory below a file: %v", err)
		}
	})
}

func TestReplace(t *testing.T) {
	eachFS(t, func(t *testing.T, fs FS, dir string) {
		name := filepath.Join(dir, "f")
		for _, want := range []string{"", "long content", "short"} {
			must(t, Replace(fs, name, []byte(want)))
			if got := content(t, fs, name); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		names, err := fs.List(dir)
		must(t, err)
		if diff := cmp.Diff([]string{"f"}, names); diff != "" {
			t.Errorf("left over: %s", diff)
		}
	})
}

func TestFree(t *testing.T) {
	free, total, err := OSFree(t.TempDir())
	if err != nil || free <= 0 || total < free {
		t.Errorf("free %d of %d, %v", free, total, err)
	}
	if _, _, err := OSFree("/no/such/place"); err == nil {
		t.Error("free space of an absent directory")
	}
}
