// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/mansiomq/mansio/internal/fault"
)

// newRoom is the room of a folder whose database is used up to 1 MiB and has no
// reserve yet.
func newRoom(t *testing.T, free *int64) (*room, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	r := &room{
		dir: t.TempDir(), log: slog.New(slog.NewTextHandler(log, nil)), trouble: newTrouble(),
		free: func(string) (int64, int64, error) { return *free, 1 << 40, nil },
		used: func() int64 { return 1 << 20 },
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(r.database()), 0o700), os.WriteFile(r.database(), make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	return r, log
}

func TestRoom(t *testing.T) {
	const plenty = int64(1 << 30)
	for name, c := range map[string]struct {
		free        int64
		reserve     bool
		used        int64
		creates     bool
		refused     bool
		reservedNow bool
	}{
		"space, no reserve yet":        {plenty, false, 1 << 20, true, false, true},
		"just enough space":            {freeMin, false, 1 << 20, true, false, true},
		"full, a new entry":            {freeMin - 1, true, 1 << 20, true, true, true},
		"full, a change":               {0, true, 1 << 20, false, false, true},
		"full, half the reserve used":  {0, true, 1<<20 + reserveBytes/2 + 1, false, true, true},
		"full, and there is none":      {0, false, 1 << 20, false, true, false},
		"space, half the reserve used": {plenty, true, 1<<20 + reserveBytes/2 + 1, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			free := c.free
			r, _ := newRoom(t, &free)
			if c.reserve {
				if err := r.extend(); err != nil {
					t.Fatal(err)
				}
			}
			r.used = func() int64 { return c.used }
			err := r.check(c.creates)
			if (err != nil) != c.refused || err != nil && !fault.Is(err, fault.DiskFull) {
				t.Errorf("%v", err)
			}
			if got := r.reserved() >= 1<<20+reserveBytes; got != c.reservedNow {
				t.Errorf("%d bytes are reserved", r.reserved())
			}
			if c.free == plenty && r.reserved()-c.used < reserveBytes {
				t.Errorf("%d bytes are reserved for %d", r.reserved(), c.used)
			}
			if info, err := os.Stat(r.database()); err != nil || info.Size() != 1<<20 {
				t.Errorf("the database has changed: %v %v", info, err)
			}
		})
	}
}

// A full disk is one line in the log, however many writes it refuses, and its end another one.
func TestRoomLogsOnce(t *testing.T) {
	free := int64(0)
	r, log := newRoom(t, &free)
	for range 3 {
		if err := r.check(true); err == nil || !strings.Contains(err.Error(), r.dir+" is full: 0 bytes are free, new metadata need 16777216") {
			t.Errorf("%v", err)
		}
	}
	free = 1 << 30
	for range 3 {
		if err := r.check(true); err != nil {
			t.Error(err)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "written again") {
		t.Errorf("logged:\n%s", log)
	}
}

func TestRoomToStart(t *testing.T) {
	free := int64(freeMin)
	r, _ := newRoom(t, &free)
	if err := r.checkStart(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(r.database()); err != nil {
		t.Fatal(err)
	}
	if err := r.checkStart(); !fault.Is(err, fault.DiskFull) || !strings.Contains(err.Error(), "16777216 bytes are free, 50331648 are needed") {
		t.Errorf("%v", err)
	}
	free = 0
	_, err := StartEmbedded(t.Context(), EmbeddedOptions{Dir: r.dir, Free: r.free})
	if !fault.Is(err, fault.DiskFull) || !strings.Contains(err.Error(), r.dir) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if names, err := os.ReadDir(filepath.Dir(r.database())); err != nil || len(names) != 0 {
		t.Errorf("%v %v", names, err)
	}
}

// What etcd says when it gives up reaches the owner, and the process has time to end.
func TestLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		exited := make(exits)
		last := &lastWords{dir: "/data/etcd", trouble: newTrouble(), grace: graceMax, exit: exited}
		core := &bridge{log: slog.New(slog.DiscardHandler)}
		log := zap.New(core, zap.WithFatalHook(last), zap.WithPanicHook(last)).Named("etcd")
		go log.Panic("failed to commit tx", zap.Error(&os.PathError{Op: "write", Path: "db", Err: syscall.ENOSPC}))
		err := <-last.trouble.first
		if !fault.Is(err, fault.DiskFull) ||
			err.Error() != "etcd in /data/etcd gave up, make space and start again: failed to commit tx: write db: no space left on device" {
			t.Errorf("%v", err)
		}
		<-exited
		if !last.trouble.dead.Load() || time.Since(began) != graceMax {
			t.Errorf("dead %v, after %v", last.trouble.dead.Load(), time.Since(began))
		}
	})
}

// exits is told instead of the end of the process.
type exits chan struct{}

func (e exits) OnWrite(*zapcore.CheckedEntry, []zapcore.Field) { close(e) }
