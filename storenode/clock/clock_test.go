// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"testing"

	"pgregory.net/rapid"
)

const day = 86_400_000

func TestStart(t *testing.T) {
	for _, c := range []struct {
		name             string
		last, wall, want int64
	}{
		{"an empty log believes the wall", 0, 50 * day, 50 * day},
		{"a short stop is bridged at once", 50 * day, 50*day + firstLeapMS, 50*day + firstLeapMS},
		{"a long leap must prove itself", 50 * day, 50*day + firstLeapMS + 1, 50 * day},
		{"log time never goes back", 50 * day, 49 * day, 50 * day},
	} {
		if got := Start(c.last, Reading{Mono: 7, Wall: c.wall}).logMS; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestForwardStepWaitsForAMinuteOfStability(t *testing.T) {
	c := Start(0, Reading{Mono: 0, Wall: day})
	if got := c.Now(Reading{Mono: 1_000, Wall: 2 * day}); got > day+1_200 {
		t.Fatalf("leapt to %d on the first word", got)
	}
	if got := c.Now(Reading{Mono: 60_999, Wall: 2*day + 59_999}); got > day+80_000 {
		t.Fatalf("leapt to %d a millisecond too early", got)
	}
	before := c.logMS
	if got := c.Step(); got != 0 {
		t.Fatalf("told of a step of %d ms before there was one", got)
	}
	if got := c.Now(Reading{Mono: 61_000, Wall: 2*day + 60_000}); got != 2*day+60_000 {
		t.Fatalf("a stable wall is taken: got %d", got)
	}
	if got, want := c.Step(), c.logMS-before-1; got != want { // a millisecond has passed
		t.Fatalf("told of a step of %d ms, it was %d", got, want)
	}
	if got := c.Step(); got != 0 {
		t.Fatalf("told of a step twice: %d", got)
	}
}

func TestUnstableWallIsNeverBelieved(t *testing.T) {
	c := Start(0, Reading{Mono: 0, Wall: day})
	wall := int64(day)
	for i := int64(1); i <= 100; i++ {
		wall += 10_000 + 5_000 // gains 5 s every 10 s
		if got := c.Now(Reading{Mono: i * 10_000, Wall: wall}); got > day+i*10_000+i*1_000 {
			t.Fatalf("after %d s log time gained %d ms", i*10, got-day-i*10_000)
		}
	}
}

func TestBackwardWallSlowsButNeverTurnsLogTime(t *testing.T) {
	c := Start(0, Reading{Mono: 0, Wall: day})
	last := c.Now(Reading{Mono: 1, Wall: day - 3_600_000})
	for i := int64(1); i <= 1_000; i++ {
		now := c.Now(Reading{Mono: 1 + i*100, Wall: day - 3_600_000 + i*100})
		if now < last {
			t.Fatalf("went back from %d to %d", last, now)
		}
		last = now
	}
	if lost := day + 100_001 - last; lost < 9_000 || lost > 11_500 {
		t.Fatalf("slewed by %d ms in 100 s, want about a tenth", lost)
	}
}

func TestNeverBackProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Reading{Mono: 0, Wall: rapid.Int64Range(day, 2*day).Draw(t, "wall")}
		c := Start(rapid.Int64Range(0, 2*day).Draw(t, "last"), r)
		last := c.logMS
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			d := rapid.Int64Range(0, 100_000).Draw(t, "elapsed")
			r.Mono += d
			r.Wall += d + rapid.SampledFrom([]int64{0, 0, 0, 5_000, -5_000, day, -day}).Draw(t, "step")
			now := c.Now(r)
			if now < last {
				t.Fatalf("went back from %d to %d", last, now)
			}
			last = now
		}
	})
}
