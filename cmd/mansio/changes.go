// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// topicDone prints what became of a topic.
func (k *client) topicDone(what string, r *controlv1.TopicResponse, err error) error {
	if err != nil {
		return err
	}
	v := cli.TopicView(r.GetTopic())
	if k.Format == "table" {
		k.Say("topic %s %s: type %s, %d queues", v.Name, what, v.Type, v.Queues)
	} else if err := k.Print(v, nil); err != nil {
		return err
	}
	return lagging(r.GetLaggards())
}

// groupDone prints what became of a group.
func (k *client) groupDone(what string, r *controlv1.GroupResponse, err error) error {
	if err != nil {
		return err
	}
	v := cli.GroupView(r.GetGroup())
	if k.Format == "table" {
		k.Say("group %s %s: %d attempts, fifo %v", v.Name, what, v.MaxAttempts, v.FIFO)
	} else if err := k.Print(v, nil); err != nil {
		return err
	}
	return lagging(r.GetLaggards())
}

// creation says what a creation does, from the answer to the question whether the
// thing is there.
func creation[A any](_ *A, err error) (what string, failed error) {
	switch {
	case err == nil:
		return "exists already with these settings", nil
	case fault.Is(err, fault.NotFound):
		return "created", nil
	}
	return "", err
}

func topicDelete() *cobra.Command {
	c := leaf("delete NAME", "Delete a topic with all its messages; one that is not there is no error", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			admin := controlv1.NewAdminClient(k)
			_, err := cli.Call(c.Context(), k.Conn, admin.GetTopic, &controlv1.GetTopicRequest{Name: names[0]})
			if fault.Is(err, fault.NotFound) {
				k.Say("there is no topic %s", names[0])
				return nil
			}
			if err != nil {
				return err
			}
			if sure, err := k.sure(c, fmt.Sprintf("Delete topic %s and all its messages?", names[0])); !sure || err != nil {
				return err
			}
			r, err := cli.Call(c.Context(), k.Conn, admin.DeleteTopic, &controlv1.DeleteTopicRequest{Name: names[0], IfExists: true})
			if err != nil {
				return err
			}
			k.Say("topic %s deleted", names[0])
			return lagging(r.GetLaggards())
		})
	c.Flags().Bool("yes", false, "do not ask")
	return c
}

func groupDelete() *cobra.Command {
	c := leaf("delete NAME", "Delete a consumer group with its progress; one that is not there is no error", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			admin := controlv1.NewAdminClient(k)
			_, err := cli.Call(c.Context(), k.Conn, admin.GetGroup, &controlv1.GetGroupRequest{Name: names[0]})
			if fault.Is(err, fault.NotFound) {
				k.Say("there is no group %s", names[0])
				return nil
			}
			if err != nil {
				return err
			}
			if sure, err := k.sure(c, fmt.Sprintf("Delete group %s, its progress and its dead letters?", names[0])); !sure || err != nil {
				return err
			}
			r, err := cli.Call(c.Context(), k.Conn, admin.DeleteGroup, &controlv1.DeleteGroupRequest{Name: names[0], IfExists: true})
			if err != nil {
				return err
			}
			k.Say("group %s deleted", names[0])
			return lagging(r.GetLaggards())
		})
	c.Flags().Bool("yes", false, "do not ask")
	return c
}

// sure asks unless --yes was given.
func (k *client) sure(c *cobra.Command, question string) (bool, error) {
	if k.settings.k.Bool("yes") {
		return true, nil
	}
	yes, err := cli.Ask(c.InOrStdin(), c.ErrOrStderr(), question)
	if err == nil && !yes {
		k.Say("nothing was changed")
	}
	return yes, err
}

// lagging is the error of a change that stands but is not in use everywhere.
func lagging(names []string) error {
	if len(names) == 0 {
		return nil
	}
	return fault.Errorf("", fault.Timeout, "the change stands, but is not in use yet at: %s", strings.Join(names, ", "))
}
