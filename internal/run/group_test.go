// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
)

// journal notes what happens in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// part takes some time to become ready and some to stop.
func (j *journal) part(name string, takes time.Duration) Part {
	return func(ctx context.Context, ready func()) error {
		j.note(name + " starts")
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			j.note(name + " stopped early")
			return ctx.Err()
		}
		j.note(name + " ready")
		ready()
		<-ctx.Done()
		<-time.NewTimer(takes).C
		j.note(name + " stopped")
		return ctx.Err()
	}
}

func TestGroupOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var g Group
		g.Add("a", j.part("a", 2*time.Second))
		g.Add("b", j.part("b", time.Second))
		g.Stopping = func(ended string) { j.note("stopping" + ended) }
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-g.Ready()
			j.note("all ready")
			cancel()
		}()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []string{"a starts", "a ready", "b starts", "b ready", "all ready", "stopping", "b stopped", "a stopped"}
		if diff := cmp.Diff(want, j.lines); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGroupCancelledWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var g Group
		g.Add("a", j.part("a", time.Second))
		g.Add("b", j.part("b", time.Hour))
		g.Add("c", j.part("c", time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []string{"a starts", "a ready", "b starts", "b stopped early", "a stopped"}
		if diff := cmp.Diff(want, j.lines); diff != "" {
			t.Error(diff)
		}
		select {
		case <-g.Ready():
			t.Error("ready although b never was")
		default:
		}
	})
}

func TestGroupPartFails(t *testing.T) {
	for name, breaks := range map[string]func(ready func()) error{
		"before it is ready": func(func()) error { return errors.New("disk on fire") },
		"afterwards":         func(ready func()) error { ready(); return errors.New("disk on fire") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				var g Group
				g.Add("a", j.part("a", time.Second))
				g.Add("b", func(_ context.Context, ready func()) error { return breaks(ready) })
				err := g.Run(t.Context())
				if err == nil || err.Error() != "b: disk on fire" {
					t.Errorf("error %v", err)
				}
				if got := strings.Join(j.lines, ", "); got != "a starts, a ready, a stopped" {
					t.Error(got)
				}
			})
		})
	}
}

func TestGroupPartEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var g Group
		g.Add("a", j.part("a", time.Second))
		g.AddFunc("b", func(context.Context) error { return nil })
		g.Stopping = func(ended string) { j.note("stopping, ended: " + ended) }
		if err := g.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(j.lines, ", "); got != "a starts, a ready, stopping, ended: b, a stopped" {
			t.Error(got)
		}
	})
}

func TestGroupJoinsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		g.AddFunc("a", func(ctx context.Context) error { <-ctx.Done(); return errors.New("checkpoint not written") })
		g.AddFunc("b", func(ctx context.Context) error { <-ctx.Done(); return context.Canceled })
		g.AddFunc("c", func(context.Context) error { return errors.New("port taken") })
		err := g.Run(t.Context())
		if err == nil || err.Error() != "c: port taken\na: checkpoint not written" {
			t.Errorf("error %v", err)
		}
	})
}

func TestGroupEmpty(t *testing.T) {
	var g Group
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-g.Ready()
}

// TestStopMax: a part that does not end is named, and holds nobody up for ever.
func TestStopMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := Group{StopMax: 10 * time.Second}
		free := make(chan struct{})
		g.Add("first", j.part("first", time.Second))
		g.Add("stuck", func(_ context.Context, ready func()) error {
			ready()
			<-free
			return nil
		})
		g.Add("last", j.part("last", 4*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-g.Ready()
			cancel()
		}()
		began := time.Now()
		err := g.Run(ctx)
		if !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "stuck has not ended within 10s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 5*time.Second+10*time.Second {
			t.Errorf("took %v", took)
		}
		close(free)
		time.Sleep(2 * time.Second) // in fake time: the first part was told to stop
		synctest.Wait()
		if last := j.lines[len(j.lines)-1]; last != "first stopped" {
			t.Errorf("the last that happened: %s", last)
		}
	})
}
