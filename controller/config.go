// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/controller/etcd"
	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/datadir"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// ShardsPerNodeDefault is how many shards a store node leads.
	ShardsPerNodeDefault = 4
	// ShardsPerNodeMax keeps apart what is configured and what is a typing error.
	ShardsPerNodeMax = 256
	// ClusterDefault is the name of a cluster that nobody named.
	ClusterDefault = "mansio"
)

// Config is what a controller is told. Exactly one of Embedded, External and
// Store says where the metadata are.
type Config struct {
	Cluster string // name; "" = ClusterDefault
	Address string // where others reach this controller; for people

	// Data is the controller's folder: embedded etcd lies in it, and its identity tells
	// a restart from a stranger. It stays the caller's. Nil only in tests with a Store.
	Data     *datadir.Dir
	Embedded bool
	Free     etcd.FreeFunc // of the disk under embedded etcd; nil: it is not watched
	External *etcd.ExternalOptions
	Store    metastore.Store // kept by somebody else; no election, no rivals

	ShardsPerNode    int // 0 = ShardsPerNodeDefault
	AutoCreateTopics bool
	AutoCreateGroups bool
	ConsumeFrom      controlv1.ConsumeFrom // of groups that do not say; 0 = earliest

	// Dial returns the connection to a node's address.
	Dial func(address string) (grpc.ClientConnInterface, error)
	Now  func() time.Time
	Log  *slog.Logger // nil: nothing is logged
	// Meter counts; nil: nothing is counted.
	Meter metric.Meter
}

// complete fills in defaults and checks.
func (c Config) complete() (Config, error) {
	const op = "controller.New"
	if c.Cluster == "" {
		c.Cluster = ClusterDefault
	}
	if c.ShardsPerNode == 0 {
		c.ShardsPerNode = ShardsPerNodeDefault
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	places := 0
	for _, given := range []bool{c.Embedded, c.External != nil, c.Store != nil} {
		if given {
			places++
		}
	}
	switch {
	case places != 1:
		return c, fault.Errorf(op, fault.Invalid, "give either --etcd-embedded or --etcd-endpoints")
	case c.Data == nil && c.Store == nil:
		return c, fault.Errorf(op, fault.Invalid, "no data folder: give --data")
	case c.ShardsPerNode < 1 || c.ShardsPerNode > ShardsPerNodeMax:
		return c, fault.Errorf(op, fault.Invalid, "%d shards per node: give 1 to %d", c.ShardsPerNode, ShardsPerNodeMax)
	case c.Dial == nil || c.Now == nil:
		return c, fault.Errorf(op, fault.Invalid, "a dialer and a clock are needed")
	default:
		return c, nil
	}
}
