// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/route"
)

// Config says what a proxy works with. Table must not be fed before New.
type Config struct {
	Table *metadata.Table
	// Controllers are connections to whoever may lead the metadata, for creating
	// topics and groups on first use and for administration.
	Controllers []grpc.ClientConnInterface
	// Peers gives the peer of a store node, nil when there is none. It must be
	// quick.
	Peers func(*controlv1.Node) route.Peer
	// Incarnation is random and new with every start; not 0. Peers carry the same.
	Incarnation uint64
	// Advertise is the HOST:PORT that routes show to clients of which it is not
	// known what they dialled.
	Advertise string
	// CheckAdmin lets administrators in: nil or why not.
	CheckAdmin func(context.Context) error
	Now        func() time.Time
	Log        *slog.Logger
	Meter      metric.Meter         // nil: nothing is measured
	Tracer     trace.TracerProvider // nil: nothing is traced

	// SendBytesMax and ReceiveBytesMax bound the bytes of messages on their way in
	// and out; 0: the defaults.
	SendBytesMax    int64
	ReceiveBytesMax int64

	// TopicsMax and GroupsMax are up to how many topics and groups new ones are
	// created on first use; 0: the defaults.
	TopicsMax, GroupsMax int

	// Hook is called at the beginning of each call with its name, for tests; it
	// may panic.
	Hook func(call string)
}

// Validate reports what is missing.
func (c *Config) Validate() error {
	for what, missing := range map[string]bool{
		"Table": c.Table == nil, "Controllers": len(c.Controllers) == 0, "Peers": c.Peers == nil,
		"Incarnation": c.Incarnation == 0, "CheckAdmin": c.CheckAdmin == nil, "Now": c.Now == nil, "Log": c.Log == nil,
	} {
		if missing {
			return fault.Errorf("proxy.New", fault.Invalid, "%s is not set", what)
		}
	}
	if c.TopicsMax < 0 || c.GroupsMax < 0 {
		return fault.Errorf("proxy.New", fault.Invalid, "up to %d topics and %d groups: neither can be negative", c.TopicsMax, c.GroupsMax)
	}
	if c.Advertise != "" {
		if _, ok := parseAddress(c.Advertise); !ok {
			return fault.Errorf("proxy.New", fault.Invalid, "advertise %q: want HOST:PORT", c.Advertise)
		}
	}
	return nil
}
