// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newMessage() *cobra.Command {
	get, query := messageGet(), messageQuery()
	ofProxies(get)
	ofProxies(query)
	return parent("message", "Look at stored messages", get, query)
}

func messageGet() *cobra.Command {
	return leaf("get TOPIC MESSAGE-ID", "Find a message by its id", args(2, 2), func(c *cobra.Command, words []string, k *client) error {
		r, err := cli.Call(c.Context(), k.Conn, controlv1.NewInspectClient(k).GetMessage,
			&controlv1.GetMessageRequest{Topic: words[0], MessageId: words[1]})
		if err != nil {
			return err
		}
		if len(r.GetMessages()) == 0 {
			return fault.Errorf("", fault.NotFound, "topic %s holds no message %s", words[0], words[1])
		}
		return k.messages(r.GetMessages())
	})
}

func messageQuery() *cobra.Command {
	c := leaf("query TOPIC", "Find messages by key, or by the time they were stored", args(1, 1),
		func(c *cobra.Command, words []string, k *client) error {
			q := &controlv1.QueryMessagesRequest{Topic: words[0], Key: k.settings.k.String("key")}
			var err error
			if q.FromMs, err = k.settings.moment("from", time.Now()); err != nil {
				return err
			}
			if q.ToMs, err = k.settings.moment("to", time.Now()); err != nil {
				return err
			}
			if (q.GetKey() == "") == (q.GetFromMs() == 0 && q.GetToMs() == 0) {
				return usagef("give --key, or --from and --to")
			}
			if q.GetKey() == "" && q.GetToMs() == 0 {
				q.ToMs = time.Now().UnixMilli()
			}
			limit, err := k.settings.count("limit", 1<<20)
			if err != nil {
				return err
			}
			var found []*controlv1.StoredMessage
			for uint32(len(found)) < limit { //nolint:gosec // bounded by limit
				q.PageSize = min(limit-uint32(len(found)), 500) //nolint:gosec // as above
				r, err := cli.Call(c.Context(), k.Conn, controlv1.NewInspectClient(k).QueryMessages, q)
				if err != nil {
					return err
				}
				found = append(found, r.GetMessages()...)
				next := r.GetNextPageToken()
				if next == "" {
					break
				}
				if next == q.GetPageToken() {
					return fault.Errorf("", fault.Internal, "the proxy does not get on behind page %s", next)
				}
				q.PageToken = next
			}
			return k.messages(found)
		})
	f := c.Flags()
	f.String("key", "", "messages with this key")
	f.String("from", "", "messages stored at or after this time: RFC 3339, or an age such as 2h")
	f.String("to", "", "messages stored before this time; default now")
	f.Int("limit", 100, "at most so many")
	return c
}

// moment reads a time: RFC 3339, or an age before now. Empty is 0.
func (s *settings) moment(key string, now time.Time) (ms int64, err error) {
	text := s.k.String(key)
	if text == "" {
		return 0, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age).UnixMilli(), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, usagef("--%s %q: a time such as 2026-01-02T15:04:05Z, or an age such as 2h", key, text)
	}
	return t.UnixMilli(), nil
}

// messages prints stored messages.
func (k *client) messages(found []*controlv1.StoredMessage) error {
	views := []cli.Message{}
	for _, m := range found {
		v, err := cli.StoredView(m)
		if err != nil {
			return err
		}
		views = append(views, v)
	}
	return k.Print(views, func(w io.Writer) {
		cli.Row(w, "ID", "QUEUE", "OFFSET", "STORED", "TAG", "KEYS", "BODY")
		for i := range views {
			v := &views[i]
			cli.Row(w, v.ID, *v.Queue, v.Offset, v.Stored, v.Tag, cli.List(v.Keys), fmt.Sprintf("%.60q", v.Text()))
		}
	})
}
