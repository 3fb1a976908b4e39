// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mansiomq/mansio/internal/assembly"
	"github.com/mansiomq/mansio/internal/fault"
)

// role is what the four role commands differ in: their flags and the part of
// the configuration that the flags make.
type role struct {
	use, short string
	flags      func(*pflag.FlagSet)
	configure  func(*settings, *assembly.Config) error
}

// roles are the commands that serve.
func roles() []role { return []role{standalone, controller, storeNode, proxy} }

// command makes a role's command.
func (r role) command() *cobra.Command {
	c := &cobra.Command{
		Use: r.use, Short: r.short, Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := loadSettings(c)
			if err != nil {
				return err
			}
			cfg, err := r.config(s)
			if err != nil {
				return err
			}
			return runRole(c.Context(), s, cfg, c.OutOrStdout())
		},
	}
	commonFlags(c.Flags())
	r.flags(c.Flags())
	return c
}

// config makes the configuration that the settings describe, and checks it: what
// it refuses was asked for wrongly.
func (r role) config(s *settings) (*assembly.Config, error) {
	c, err := r.build(s)
	if err == nil {
		_, err = s.logger(io.Discard)
	}
	if err == nil {
		err = c.Validate()
	}
	if fault.Is(err, fault.Invalid) {
		err = &usageError{err}
	}
	return c, err
}

// build makes the configuration that the settings describe.
func (r role) build(s *settings) (*assembly.Config, error) {
	memory, err := s.bytes("memory")
	if err != nil {
		return nil, err
	}
	c := &assembly.Config{
		Name:              "mansio " + r.use,
		ClusterSecretFile: s.k.String("cluster-secret-file"), AdminTokenFile: s.k.String("admin-token-file"),
		HTTPListen: s.k.String("http-listen"), Pprof: s.k.Bool("pprof"), MemoryBytes: memory,
	}
	return c, r.configure(s, c)
}

var controller = role{
	use: "controller", short: "Run a controller: metadata, placement, leadership",
	flags: func(f *pflag.FlagSet) {
		f.String("data", "", "data folder, needed with any etcd: whose it is, and the embedded etcd")
		f.String("listen", "127.0.0.1:8083", "address for store nodes, proxies and administrators")
		f.Int("shards-per-node", 4, "shards to keep per store node")
		controllerFlags(f, false)
	},
	configure: func(s *settings, c *assembly.Config) error {
		shards, err := s.count("shards-per-node", shardsMax)
		if err != nil {
			return err
		}
		c.Data = s.k.String("data")
		if c.Controller, err = configureController(s, s.k.Bool("etcd-embedded"), s.k.String("listen")); err != nil {
			return err
		}
		c.Controller.ShardsPerNode = int(shards)
		return nil
	},
}

var storeNode = role{
	use: "storenode", short: "Run a store node: it keeps shards",
	flags: func(f *pflag.FlagSet) {
		f.StringSlice("data", nil, "data folder; more of them, with commas, for more disks")
		f.String("listen", "127.0.0.1:8084", "address for proxies and controllers")
		f.String("advertise", "", "address that others reach this node at; default that of --listen")
		f.String("node", "", "name of the node, for ever; default the host's name")
		f.String("zone", "", "where the node stands, for placement")
		f.StringSlice("controller", nil, "addresses of the controllers")
		f.StringSlice("etcd-endpoints", nil, "addresses of an external etcd; with one replica per shard a node has no use for it yet")
		storeFlags(f)
	},
	configure: func(s *settings, c *assembly.Config) (err error) {
		if c.StoreNode, err = configureStore(s); err != nil {
			return err
		}
		if dirs := s.list("data"); len(dirs) > 0 {
			c.Data, c.StoreNode.Dirs = dirs[0], dirs[1:]
		}
		n := c.StoreNode
		n.Listen, n.Advertise, n.Node, n.Zone = s.k.String("listen"), s.k.String("advertise"), s.k.String("node"), s.k.String("zone")
		if n.Node == "" {
			n.Node, err = os.Hostname()
		}
		c.Controllers = s.list("controller")
		return err
	},
}

var proxy = role{
	use: "proxy", short: "Run a proxy: it speaks with clients and keeps nothing",
	flags: func(f *pflag.FlagSet) {
		f.String("listen", ":8081", "address for clients")
		f.String("advertise", "", "address that clients are told when they do not say where they called")
		f.StringSlice("controller", nil, "addresses of the controllers")
		proxyFlags(f)
	},
	configure: func(s *settings, c *assembly.Config) (err error) {
		c.Proxy, err = configureProxy(s)
		c.Controllers = s.list("controller")
		return err
	},
}
