// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"time"

	"github.com/mansiomq/mansio/internal/fault"
)

// Options say what load to make.
type Options struct {
	// Endpoint is the server, HOST:PORT.
	Endpoint string
	// TLS encrypts; certificates are not verified, as in the official Go and Java clients.
	TLS bool
	// Topic must exist, or be made at its first route query.
	Topic string
	// Group receives.
	Group string
	// Body is the size of a message's body in bytes, at least BodyMin for E2E.
	Body int
	// InFlight is the number of operations under way at most.
	InFlight int
	// Connections spread them; 0 chooses InFlight/16, at least 1 and at most 16.
	Connections int
	// Rate is how many operations start per second; 0 is a closed loop.
	Rate float64
	// WarmUp precedes what is counted.
	WarmUp time.Duration
	// Duration is how long operations start to be counted, Count how many do at most;
	// 0 is no limit, but one of them must be set.
	Duration time.Duration
	Count    int64
	// Batch is how many messages one receive asks for.
	Batch int
	// Consumers is how many receives are under way; 0 chooses InFlight/8, at least 1.
	Consumers int
	// Wait is the long poll of receives, Invisible their lease.
	Wait, Invisible time.Duration
	// NoAck leaves received messages unacknowledged.
	NoAck bool
	// Drain is how long E2E waits for missing messages without any progress.
	Drain time.Duration
	// PIDs are processes of the server on this machine, for CPU and memory.
	PIDs []int
	// Progress is told now and then how far the run is; it may be nil.
	Progress func(text string)
}

// CallTimeout bounds each operation, as the official clients do it.
const CallTimeout = 3 * time.Second

// limits of what one generator does.
const (
	inFlightMax   = 65536
	bodyMax       = 4 << 20
	countMax      = 1 << 32
	receiveBatch  = 32
	connectionMax = 16
	perConnection = 16
)

// Check fills what is 0 with its default, and refuses nonsense.
func (o *Options) Check() error {
	const op = "bench"
	bad := func(format string, operands ...any) error {
		return fault.Errorf(op, fault.Invalid, format, operands...)
	}
	if o.Connections == 0 {
		o.Connections = min(max(o.InFlight/perConnection, 1), connectionMax)
	}
	if o.Batch == 0 {
		o.Batch = receiveBatch
	}
	if o.Consumers == 0 {
		o.Consumers = max(o.InFlight/8, 1)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	switch {
	case o.InFlight < 1 || o.InFlight > inFlightMax:
		return bad("in flight %d: 1 to %d", o.InFlight, inFlightMax)
	case o.Body < 1 || o.Body > bodyMax:
		return bad("body of %d bytes: 1 to %d", o.Body, bodyMax)
	case o.Rate < 0:
		return bad("rate %v is negative", o.Rate)
	case o.Duration <= 0 && o.Count <= 0:
		return bad("give a duration or a count")
	case o.Count > countMax:
		return bad("count %d: at most %d", o.Count, int64(countMax))
	case o.Connections < 1 || o.Connections > inFlightMax:
		return bad("%d connections", o.Connections)
	case o.Topic == "":
		return bad("no topic")
	}
	return nil
}
