// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/pflag"

	"github.com/mansiomq/mansio/internal/assembly"
)

var standalone = role{
	use: "standalone", short: "Run everything in this process, with an embedded etcd",
	flags: func(f *pflag.FlagSet) {
		f.String("data", "./data", "data folder")
		f.String("listen", ":8081", "address for clients")
		f.String("advertise", "", "address that clients are told when they do not say where they called")
		f.Int("shards", 1, "shards of this process")
		controllerFlags(f, true)
		storeFlags(f)
		proxyFlags(f)
	},
	configure: func(s *settings, c *assembly.Config) (err error) {
		shards, err := s.count("shards", shardsMax)
		if err != nil {
			return err
		}
		c.Data = s.k.String("data")
		if c.Proxy, err = configureProxy(s); err != nil {
			return err
		}
		if c.Controller, err = configureController(s, s.k.Bool("etcd-embedded") && len(s.list("etcd-endpoints")) == 0, ""); err != nil {
			return err
		}
		c.Controller.ShardsPerNode = int(shards)
		if c.StoreNode, err = configureStore(s); err != nil {
			return err
		}
		c.StoreNode.Node = "standalone"
		return nil
	},
}
