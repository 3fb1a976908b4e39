// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/cli"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newTopic() *cobra.Command {
	return parent("topic", "Create, look at and change topics",
		topicCreate(), topicList(), topicDescribe(), topicUpdate(), topicDelete())
}

// served are the types of topics that clients can use.
var served = map[controlv1.TopicType]bool{controlv1.TopicType_TOPIC_TYPE_NORMAL: true, controlv1.TopicType_TOPIC_TYPE_MIXED: true}

func topicCreate() *cobra.Command {
	c := leaf("create NAME", "Create a topic; again with the same settings changes nothing", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			kind, err := enumValue("--type", k.settings.k.String("type"), "TOPIC_TYPE_", controlv1.TopicType_value)
			if err != nil {
				return err
			}
			reply, err := enumValue("--reply", k.settings.k.String("reply"), "REPLY_POINT_", controlv1.ReplyPoint_value)
			if err != nil {
				return err
			}
			queues, err := k.settings.count("queues", 1<<16)
			if err != nil {
				return err
			}
			admin := controlv1.NewAdminClient(k)
			what, err := creation(cli.Call(c.Context(), k.Conn, admin.GetTopic, &controlv1.GetTopicRequest{Name: names[0]}))
			if err != nil {
				return err
			}
			r, err := cli.Call(c.Context(), k.Conn, admin.CreateTopic, &controlv1.CreateTopicRequest{
				Topic: &controlv1.Topic{
					Name: names[0], Type: controlv1.TopicType(kind), Reply: controlv1.ReplyPoint(reply),
					Deduplicate: k.settings.k.Bool("deduplicate"),
				},
				Queues: queues, IfNotExists: true,
			})
			if err == nil && !served[controlv1.TopicType(kind)] {
				fmt.Fprintf(c.ErrOrStderr(), "messages of type %s are not served yet\n", k.settings.k.String("type"))
			}
			return k.topicDone(what, r, err)
		})
	c.Flags().String("type", "normal", "normal, fifo, delay, transaction, mixed, priority or lite")
	c.Flags().Int("queues", 8, "number of queues")
	topicFlags(c)
	return c
}

func topicFlags(c *cobra.Command) {
	c.Flags().String("reply", "committed", "when a send is answered: written, committed or all")
	c.Flags().Bool("deduplicate", false, "store a message id once only")
}

func topicList() *cobra.Command {
	c := leaf("list", "List topics", args(0, 0), func(c *cobra.Command, _ []string, k *client) error {
		q := &controlv1.ListTopicsRequest{Prefix: k.settings.k.String("prefix")}
		views := []cli.Topic{}
		for {
			r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).ListTopics, q)
			if err != nil {
				return err
			}
			for _, t := range r.GetTopics() {
				views = append(views, cli.TopicView(t))
			}
			if q.PageToken = r.GetNextPageToken(); q.GetPageToken() == "" {
				break
			}
		}
		return k.Print(views, func(w io.Writer) { topicTable(w, views) })
	})
	c.Flags().String("prefix", "", "only topics whose names begin so")
	return c
}

func topicTable(w io.Writer, views []cli.Topic) {
	cli.Row(w, "NAME", "TYPE", "QUEUES", "REPLY", "DEDUPLICATE", "CREATED")
	for _, v := range views {
		cli.Row(w, v.Name, v.Type, v.Queues, v.Reply, v.Deduplicate, v.Created)
	}
}

func topicDescribe() *cobra.Command {
	return leaf("describe NAME", "Show one topic and where its queues are", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).GetTopic, &controlv1.GetTopicRequest{Name: names[0]})
			if err != nil {
				return err
			}
			v := cli.TopicView(r.GetTopic())
			return k.Print(v, func(w io.Writer) {
				topicTable(w, []cli.Topic{v})
				cli.Row(w)
				cli.Row(w, "QUEUE", "SHARD")
				for queue, shard := range v.Shards {
					cli.Row(w, queue, shard)
				}
			})
		})
}

func topicUpdate() *cobra.Command {
	c := leaf("update NAME", "Change a topic: what no flag names stays", args(1, 1),
		func(c *cobra.Command, names []string, k *client) error {
			q := &controlv1.UpdateTopicRequest{Name: names[0]}
			if c.Flags().Changed("queues") {
				n, err := k.settings.count("queues", 1<<16)
				if err != nil {
					return err
				}
				q.Queues = &n
			}
			if c.Flags().Changed("reply") {
				n, err := enumValue("--reply", k.settings.k.String("reply"), "REPLY_POINT_", controlv1.ReplyPoint_value)
				if err != nil {
					return err
				}
				q.Reply = controlv1.ReplyPoint(n).Enum()
			}
			if c.Flags().Changed("deduplicate") {
				v := k.settings.k.Bool("deduplicate")
				q.Deduplicate = &v
			}
			if proto.Equal(q, &controlv1.UpdateTopicRequest{Name: names[0]}) {
				return usagef("nothing to change: see `%s --help`", c.CommandPath())
			}
			r, err := cli.Call(c.Context(), k.Conn, controlv1.NewAdminClient(k).UpdateTopic, q)
			return k.topicDone("changed", r, err)
		})
	c.Flags().Int("queues", 8, "number of queues: more, never fewer")
	topicFlags(c)
	return c
}
