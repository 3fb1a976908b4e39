// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mansiomq/mansio/internal/cli"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rocketmq"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// bodyMax is what a server accepts; reading more would only be refused later.
const bodyMax = 4 << 20

func newSend() *cobra.Command {
	c := leaf("send TOPIC [BODY]", "Send a message; its body is BODY, --file or standard input", args(1, 2), send)
	ofProxies(c)
	f := c.Flags()
	f.String("file", "", "file with the body")
	f.String("tag", "", "tag of the message")
	f.StringSlice("key", nil, "key of the message; repeat for more")
	f.StringToString("property", nil, "user property NAME=VALUE; repeat for more")
	f.Int("count", 1, "send so many such messages")
	return c
}

func send(c *cobra.Command, words []string, k *client) error {
	m, err := k.compose(c, words)
	if err != nil {
		return err
	}
	count, err := k.settings.count("count", 1<<30)
	if err != nil {
		return err
	}
	to, err := rocketmq.New(k, k.Target())
	if err != nil {
		return &usageError{err}
	}
	// The route comes first, as with any SDK: it makes the topic where topics are made by use.
	if _, err := to.Route(c.Context(), words[0]); err != nil {
		return k.Explain(err)
	}
	progress := cli.NewProgress(c.ErrOrStderr())
	defer progress.Clear()
	views := []cli.Message{}
	for i := range count {
		one := proto.CloneOf(m)
		one.SystemProperties.MessageId = rocketmq.MessageID()
		one.SystemProperties.BornTimestamp = timestamppb.New(time.Now())
		v, err := cli.SendOne(c.Context(), k.Conn, to, one)
		if err != nil {
			return err
		}
		views = append(views, v)
		progress.Show("sent %d of %d", i+1, count)
	}
	progress.Clear()
	return k.Print(views, func(w io.Writer) {
		for i := range views {
			cli.Row(w, "sent", views[i].ID, "offset", views[i].Offset)
		}
	})
}

// compose makes the message that the command line describes.
func (k *client) compose(c *cobra.Command, words []string) (*v2.Message, error) {
	body, err := k.body(c.InOrStdin(), words)
	if err != nil {
		return nil, err
	}
	properties, err := c.Flags().GetStringToString("property")
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	m := &v2.Message{
		Topic: rocketmq.Resource(words[0]), UserProperties: properties, Body: body,
		SystemProperties: &v2.SystemProperties{
			Keys: k.settings.k.Strings("key"), MessageType: v2.MessageType_NORMAL, BodyEncoding: v2.Encoding_IDENTITY,
			BornHost: host,
		},
	}
	if tag := k.settings.k.String("tag"); tag != "" {
		m.SystemProperties.Tag = &tag
	}
	return m, nil
}

// body takes the body from the operand, a file or standard input.
func (k *client) body(in io.Reader, words []string) ([]byte, error) {
	path := k.settings.k.String("file")
	switch {
	case len(words) == 2 && path != "":
		return nil, usagef("BODY and --file exclude each other")
	case len(words) == 2:
		return []byte(words[1]), nil
	case path != "":
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.E("--file", fault.Invalid, err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, bodyMax+1))
	switch {
	case err != nil:
		return nil, fault.E("read the body", fault.Invalid, err)
	case len(body) > bodyMax:
		return nil, fault.Errorf("", fault.Invalid, "the body is larger than %d bytes", bodyMax)
	case len(body) == 0:
		return nil, usagef("the body is empty: give BODY, --file or standard input")
	}
	if path == "" { // typed or piped text: the final newline belongs to the shell
		body = []byte(strings.TrimSuffix(string(body), "\n"))
	}
	return body, nil
}
