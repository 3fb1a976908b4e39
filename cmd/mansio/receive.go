// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/cli"
	"github.com/mansiomq/mansio/internal/rocketmq"
)

// pollMax is the longest wait of one receive: servers answer within 30 s.
const pollMax = 20 * time.Second

func newReceive() *cobra.Command {
	c := leaf("receive TOPIC --group GROUP", "Receive messages, and acknowledge them with --ack", args(1, 1), receive)
	ofProxies(c)
	f := c.Flags()
	f.String("group", "", "consumer group to receive for")
	f.String("filter", "*", "tags to receive, such as \"a || b\"")
	f.Bool("ack", false, "acknowledge what was printed; without it messages come back when their lease passes")
	f.BoolP("follow", "f", false, "go on until interrupted")
	f.Int("max", 16, "receive at most so many, unless --follow")
	f.Duration("wait", 5*time.Second, "wait so long for a first message")
	f.Duration("invisible", 30*time.Second, "lease: how long others do not see what was received")
	return c
}

func receive(c *cobra.Command, words []string, k *client) error {
	s := k.settings
	group := s.k.String("group")
	if group == "" {
		return usagef("--group is missing: messages are received for a consumer group")
	}
	most, err := s.count("max", 1<<30)
	if err != nil {
		return err
	}
	if wait, lease := s.k.Duration("wait"), s.k.Duration("invisible"); wait < 0 || lease <= 0 || lease > leaseMax {
		return usagef("--wait %v, --invisible %v: a wait of 0 or more, a lease of at most %v", wait, lease, leaseMax)
	}
	from, err := rocketmq.New(k, k.Target())
	if err != nil {
		return &usageError{err}
	}
	consumer, err := from.Subscribe(c.Context(), group, words[0], s.k.String("filter"))
	if err != nil {
		return k.Explain(err)
	}
	follow, got := s.k.Bool("follow"), uint32(0)
	until := time.Now().Add(s.k.Duration("wait"))
	for follow || got < most {
		wait := pollMax
		batch := int32(32)
		if !follow {
			wait = min(wait, max(time.Until(until), 0))
			batch = int32(min(most-got, 32))
		}
		messages, err := consumer.Receive(c.Context(), batch, s.k.Duration("invisible"), wait)
		if c.Context().Err() != nil {
			return nil //nolint:nilerr // interrupted: that is how a follower ends
		}
		if err != nil {
			return k.Explain(err)
		}
		for _, m := range messages {
			if err := k.received(cli.MessageView(m)); err != nil {
				return err
			}
			if s.k.Bool("ack") {
				if err := consumer.Ack(c.Context(), m); err != nil {
					return fmt.Errorf("acknowledge %s: %w", m.GetSystemProperties().GetMessageId(), k.Explain(err))
				}
			}
		}
		got += uint32(len(messages)) //nolint:gosec // a batch
		if len(messages) > 0 {
			until = time.Now() // what is there now is taken, nothing is waited for
		} else if !follow && !time.Now().Before(until) {
			break
		}
	}
	if got == 0 && !follow {
		fmt.Fprintf(c.ErrOrStderr(), "no message within %v\n", s.k.Duration("wait"))
	}
	return nil
}

// received prints one message as it comes: for programs one line of JSON, or one
// document of YAML.
func (k *client) received(v cli.Message) error {
	switch k.Format {
	case "json":
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = k.W.Write(append(line, '\n'))
		return err
	case "yaml":
		fmt.Fprintln(k.W, "---")
	}
	return k.Print(v, func(w io.Writer) {
		tag := ""
		if v.Tag != "" {
			tag = " tag=" + v.Tag
		}
		fmt.Fprintf(w, "%s queue=%d offset=%d attempt=%d%s %s\n", v.ID, *v.Queue, v.Offset, v.Attempt, tag, v.Text())
	})
}
