// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newShard() *cobra.Command { return parent("shard", "Look at shards", shardList()) }

func shardList() *cobra.Command {
	c := leaf("list", "List shards, their leaders and replicas", args(0, 0), func(c *cobra.Command, _ []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).ListShards,
			&controlv1.ListShardsRequest{Topic: k.settings.k.String("topic")})
		if err != nil {
			return err
		}
		views := cli.ShardViews(r)
		return k.Print(views, func(w io.Writer) {
			cli.Row(w, "SHARD", "LEADER", "TERM", "IN SYNC", "REPLICAS", "PHASE")
			for _, v := range views {
				leader := v.Leader
				if leader == "" {
					leader = "-"
				}
				cli.Row(w, v.Shard, leader, v.Term, cli.List(v.InSync), cli.List(v.Replicas), v.Phase)
			}
		})
	})
	c.Flags().String("topic", "", "only the shards of this topic")
	return c
}

func newNode() *cobra.Command { return parent("node", "Look at store nodes", nodeList()) }

func nodeList() *cobra.Command {
	return leaf("list", "List store nodes", args(0, 0), func(c *cobra.Command, _ []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).ListNodes, &controlv1.ListNodesRequest{})
		if err != nil {
			return err
		}
		views := []cli.Node{}
		for _, n := range r.GetNodes() {
			views = append(views, cli.NodeView(n))
		}
		return k.Print(views, func(w io.Writer) {
			cli.Row(w, "NAME", "ID", "ADDRESS", "ZONE", "SEEN")
			for _, v := range views {
				cli.Row(w, v.Name, v.ID, v.Address, v.Zone, v.Seen)
			}
		})
	})
}
