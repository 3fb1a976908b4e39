// SPDX-License-Identifier: Apache-2.0

package clock

const (
	// slewShare is the part of the elapsed time by which log time may be pulled
	// towards the wall: one tenth.
	slewShare = 10
	// OffMS is how far wall and log time may differ before it is a step (when
	// forward) and worth a warning (both ways).
	OffMS = 1_000
	// stableMS is how long a wall must keep its distance to be believed.
	stableMS = 60_000
	// firstLeapMS is how far a term's first reading may leap unproved.
	firstLeapMS = 10 * 60_000
)

// Reading is one look at the machine's clocks, both in milliseconds: Mono since
// some fixed moment, including suspended time; Wall since the Unix epoch.
type Reading struct{ Mono, Wall int64 }

// Clock computes log time. It is not safe for concurrent use: the leader's
// owner goroutine has it.
type Clock struct {
	logMS    int64 // the last answer
	monoMS   int64 // the reading that gave it
	credit   int64 // elapsed milliseconds not used for slewing yet
	distance int64 // wall − mono that is being observed
	sinceMS  int64 // mono time since which distance has held within OffMS
	stepMS   int64 // steps that nobody has asked for yet
}

// Start begins a term. last is the log time of the newest entry, 0 for an empty
// log.
func Start(last int64, r Reading) *Clock {
	c := &Clock{logMS: last, monoMS: r.Mono, distance: r.Wall - r.Mono, sinceMS: r.Mono}
	if last == 0 || r.Wall-last <= firstLeapMS {
		c.logMS = max(last, r.Wall)
	}
	return c
}

// Now returns the log time of the reading. It never goes back.
func (c *Clock) Now(r Reading) int64 {
	elapsed := max(r.Mono-c.monoMS, 0)
	c.monoMS = max(c.monoMS, r.Mono)
	c.logMS += elapsed
	if d := r.Wall - r.Mono - c.distance; d > OffMS || d < -OffMS {
		c.distance, c.sinceMS = r.Wall-r.Mono, r.Mono
	}
	off := r.Wall - c.logMS
	if off > OffMS && r.Mono-c.sinceMS >= stableMS {
		c.logMS, c.stepMS = r.Wall, c.stepMS+off
		return c.logMS
	}
	c.credit = min(c.credit+elapsed, slewShare*OffMS)
	pull := min(max(off, -c.credit/slewShare), c.credit/slewShare)
	c.credit -= slewShare * max(pull, -pull)
	// Pulled back by at most a tenth of elapsed plus saved credit, but never
	// behind an answer that was given.
	c.logMS = max(c.logMS+pull, c.logMS-elapsed)
	return c.logMS
}

// Step returns by how much Now has stepped since the last call. Time that was not
// lived through must end no lease: whoever leads moves all dues by it.
func (c *Clock) Step() int64 {
	step := c.stepMS
	c.stepMS = 0
	return step
}

// Off is how far the wall of the reading is ahead of log time; negative: behind.
func (c *Clock) Off(r Reading) int64 { return r.Wall - (c.logMS + max(r.Mono-c.monoMS, 0)) }
