// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newShard() *cobra.Command {
	return parent("shard", "Look at shards", shardList(), shardAcceptLoss())
}

func shardList() *cobra.Command {
	c := leaf("list", "List shards, their leaders and replicas", args(0, 0), func(c *cobra.Command, _ []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).ListShards,
			&controlv1.ListShardsRequest{Topic: k.settings.k.String("topic")})
		if err != nil {
			return err
		}
		views := cli.ShardViews(r)
		return k.Print(views, func(w io.Writer) {
			cli.Row(w, "SHARD", "LEADER", "TERM", "IN SYNC", "REPLICAS", "PHASE", "REACHABLE")
			for _, v := range views {
				leader := v.Leader
				if leader == "" {
					leader = "-"
				}
				cli.Row(w, v.Shard, leader, v.Term, cli.List(v.InSync), cli.List(v.Replicas), v.Phase, yesNo(v.Reachable))
			}
			for _, v := range views {
				if v.Blocked != "" {
					k.Say("shard %d has no leader: %s", v.Shard, v.Blocked)
				}
			}
		})
	})
	c.Flags().String("topic", "", "only the shards of this topic")
	return c
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func shardAcceptLoss() *cobra.Command {
	c := leaf("accept-loss SHARD", "Give up what a shard's corrupt log has lost, so that it serves again", args(1, 1),
		func(c *cobra.Command, words []string, k *client) error {
			shard, err := strconv.ParseUint(words[0], 10, 32)
			if err != nil {
				return usagef("%q is no shard: give the number that mansio shard list shows", words[0])
			}
			from, err := c.Flags().GetUint64("from")
			if err != nil || from == 0 {
				return usagef("give --from LSN: the one that the shard's failure names")
			}
			question := fmt.Sprintf("Give up all entries of shard %d from LSN %d on, for ever?", shard, from)
			if sure, err := k.sure(c, question); !sure || err != nil {
				return err
			}
			r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).AcceptLoss,
				&controlv1.AcceptLossRequest{Shard: uint32(shard), From: from})
			if err != nil {
				return err
			}
			k.Say("shard %d goes on from LSN %d: entries up to LSN %d are lost", shard, r.GetFrom(), r.GetTo())
			return nil
		})
	c.Flags().Uint64("from", 0, "the first LSN that is given up")
	c.Flags().Bool("yes", false, "do not ask")
	return c
}

func newNode() *cobra.Command { return parent("node", "Look at store nodes", nodeList()) }

func nodeList() *cobra.Command {
	return leaf("list", "List store nodes", args(0, 0), func(c *cobra.Command, _ []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).ListNodes, &controlv1.ListNodesRequest{})
		if err != nil {
			return err
		}
		views := cli.NodeViews(r)
		return k.Print(views, func(w io.Writer) {
			cli.Row(w, "NAME", "ID", "ADDRESS", "ZONE", "STATE", "SINCE")
			for _, v := range views {
				cli.Row(w, v.Name, v.ID, v.Address, v.Zone, v.State, v.Since)
			}
		})
	})
}
