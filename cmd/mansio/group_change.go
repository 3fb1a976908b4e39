// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/cli"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// leaseMax is the longest lease that servers give.
const leaseMax = 12 * time.Hour

// attemptsMax is the most deliveries of one message that a group can ask for.
const attemptsMax = 250

func groupFlags(c *cobra.Command) {
	f := c.Flags()
	f.Bool("fifo", false, "deliver the messages of one message group in order")
	f.Int("max-attempts", 17, "deliveries of one message before it becomes a dead letter")
	f.Bool("strict-expiry", true, "refuse an acknowledgement whose lease has passed")
	f.String("consume-from", "earliest", "where the group begins in a topic: earliest or latest")
	f.Duration("invisible", 0, "lease of receives that name none; default the cluster's")
	f.StringSlice("backoff", nil, "waits before the next attempts, such as 1s,10s,1m; the last one repeats")
}

// groupChange is the change that the given flags describe.
func groupChange(c *cobra.Command, name string, s *settings) (*controlv1.UpdateGroupRequest, error) {
	q := &controlv1.UpdateGroupRequest{Name: name}
	if c.Flags().Changed("max-attempts") {
		n, err := s.count("max-attempts", attemptsMax)
		if err != nil {
			return nil, err
		}
		q.MaxAttempts = &n
	}
	if c.Flags().Changed("fifo") {
		v := s.k.Bool("fifo")
		q.Fifo = &v
	}
	if c.Flags().Changed("strict-expiry") {
		v := s.k.Bool("strict-expiry")
		q.StrictExpiry = &v
	}
	if c.Flags().Changed("consume-from") {
		n, err := enumValue("--consume-from", s.k.String("consume-from"), "CONSUME_FROM_", controlv1.ConsumeFrom_value)
		if err != nil {
			return nil, err
		}
		q.ConsumeFrom = controlv1.ConsumeFrom(n).Enum()
	}
	if c.Flags().Changed("invisible") {
		lease := s.k.Duration("invisible")
		if lease < time.Millisecond || lease > leaseMax {
			return nil, usagef("--invisible %v: a lease of at most %v", lease, leaseMax)
		}
		q.InvisibleMs = new(lease.Milliseconds())
	}
	var steps []int64
	for _, step := range s.list("backoff") {
		d, err := time.ParseDuration(step)
		if err != nil || d < 0 {
			return nil, usagef("--backoff %q: durations such as 1s,10s,1m", step)
		}
		steps = append(steps, d.Milliseconds())
	}
	if len(steps) > 0 {
		q.Backoff = &controlv1.Backoff{StepsMs: steps}
	}
	return q, nil
}

func groupCreate() *cobra.Command {
	c := leaf("create NAME", "Create a consumer group; again with the same settings changes nothing", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			q, err := groupChange(c, names[0], k.settings)
			if err != nil {
				return err
			}
			admin := controlv1.NewAdminClient(k)
			what, err := creation(cli.Call(c.Context(), k.Conn, admin.GetGroup, &controlv1.GetGroupRequest{Name: names[0]}))
			if err != nil {
				return err
			}
			r, err := cli.Call(c.Context(), k.Conn, admin.CreateGroup, &controlv1.CreateGroupRequest{
				Group: &controlv1.Group{
					Name: names[0], Fifo: q.GetFifo(), MaxAttempts: q.GetMaxAttempts(), Backoff: q.GetBackoff(),
					StrictExpiry: k.settings.k.Bool("strict-expiry"), ConsumeFrom: q.GetConsumeFrom(), InvisibleMs: q.GetInvisibleMs(),
				},
				IfNotExists: true, StrictExpiry: q.StrictExpiry,
			})
			if err == nil && q.GetFifo() {
				fmt.Fprintln(c.ErrOrStderr(), "order within message groups is not served yet")
			}
			return k.groupDone(what, r, err)
		})
	groupFlags(c)
	return c
}

func groupUpdate() *cobra.Command {
	c := leaf("update NAME", "Change a consumer group: what no flag names stays", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			q, err := groupChange(c, names[0], k.settings)
			if err != nil {
				return err
			}
			if proto.Equal(q, &controlv1.UpdateGroupRequest{Name: names[0]}) {
				return usagef("nothing to change: see `%s --help`", c.CommandPath())
			}
			r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).UpdateGroup, q)
			return k.groupDone("changed", r, err)
		})
	groupFlags(c)
	return c
}
