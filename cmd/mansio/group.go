// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newGroup() *cobra.Command {
	return parent("group", "Create, look at and change consumer groups",
		groupCreate(), groupList(), groupDescribe(), groupUpdate(), groupDelete(), groupLag())
}

func groupList() *cobra.Command {
	c := leaf("list", "List consumer groups", args(0, 0), func(c *cobra.Command, _ []string, k *client) error {
		q := &controlv1.ListGroupsRequest{Prefix: k.settings.k.String("prefix")}
		views := []cli.Group{}
		for {
			r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).ListGroups, q)
			if err != nil {
				return err
			}
			for _, g := range r.GetGroups() {
				views = append(views, cli.GroupView(g))
			}
			if q.PageToken = r.GetNextPageToken(); q.GetPageToken() == "" {
				break
			}
		}
		return k.Print(views, func(w io.Writer) { groupTable(w, views) })
	})
	c.Flags().String("prefix", "", "only groups whose names begin so")
	return c
}

func groupTable(w io.Writer, views []cli.Group) {
	cli.Row(w, "NAME", "FIFO", "MAX ATTEMPTS", "BACKOFF", "STRICT EXPIRY", "CONSUME FROM", "INVISIBLE", "CREATED")
	for _, v := range views {
		cli.Row(w, v.Name, v.FIFO, v.MaxAttempts, cli.List(v.Backoff), v.StrictExpiry, v.ConsumeFrom, v.Invisible, v.Created)
	}
}

func groupDescribe() *cobra.Command {
	return leaf("describe NAME", "Show one consumer group", args(1, 1), func(c *cobra.Command, names []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).GetGroup, &controlv1.GetGroupRequest{Name: names[0]})
		if err != nil {
			return err
		}
		v := cli.GroupView(r.GetGroup())
		return k.Print(v, func(w io.Writer) { groupTable(w, []cli.Group{v}) })
	})
}

func groupLag() *cobra.Command {
	c := leaf("lag NAME", "Show how far a consumer group is behind", args(1, 1), func(c *cobra.Command, names []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewInspectClient(k).GroupLag,
			&controlv1.GroupLagRequest{Group: names[0], Topic: k.settings.k.String("topic")})
		if err != nil {
			return err
		}
		views := []cli.Lag{}
		for _, q := range r.GetQueues() {
			views = append(views, cli.LagView(q))
		}
		if err := k.Print(views, func(w io.Writer) { lagTable(w, views) }); err != nil {
			return err
		}
		return unasked(views)
	})
	ofProxies(c)
	c.Flags().String("topic", "", "only this topic")
	return c
}

func lagTable(w io.Writer, views []cli.Lag) {
	var ready, inFlight, done uint64
	cli.Row(w, "TOPIC", "QUEUE", "SHARD", "OLDEST", "NEXT", "READY", "IN FLIGHT", "DONE")
	for _, v := range views {
		if v.QueueProgress == nil {
			cli.Row(w, v.Topic, v.Queue, v.Shard, "?", "?", "?", "?", "?")
			continue
		}
		cli.Row(w, v.Topic, v.Queue, v.Shard, v.Min, v.Next, v.Ready, v.InFlight, v.Done)
		ready, inFlight, done = ready+v.Ready, inFlight+v.InFlight, done+v.Done
	}
	cli.Row(w, "total", "", "", "", "", ready, inFlight, done)
}

// unasked is the error of an answer that some shards are missing from.
func unasked(views []cli.Lag) error {
	var shards []uint32
	why := ""
	for _, v := range views {
		if v.Error != "" {
			shards, why = append(shards, v.Shard), v.Error
		}
	}
	if len(shards) == 0 {
		return nil
	}
	slices.Sort(shards)
	return fault.Errorf("", fault.Unavailable, "not all is known, shards away: %s (%s)",
		strings.Trim(fmt.Sprint(slices.Compact(shards)), "[]"), why)
}
