// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/bench"
)

func benchFlags(c *cobra.Command, endpoint string) {
	f := c.Flags()
	f.String("endpoint", endpoint, "server to load, HOST:PORT")
	if endpoint != "" {
		f.String("server", "", "the same as --endpoint, which is stronger")
	}
	f.Bool("tls", false, "encrypt; certificates are not verified, as in the official Go and Java clients")
	f.String("topic", "bench", "topic")
	f.String("group", "bench", "consumer group")
	f.String("size", "1KiB", "size of a body")
	f.Int("in-flight", 64, "operations under way at most")
	f.Int("connections", 0, "connections; default in-flight / 16, from 1 to 16")
	f.Float64("rate", 0, "start so many operations per second (open loop); default as fast as they end (closed loop)")
	f.Duration("warm-up", time.Second, "run so long before counting; with --count no time unless given")
	f.Duration("duration", 10*time.Second, "count for so long")
	f.Int64("count", 0, "count so many operations instead: sends, receives, or in e2e messages; what is sent in the warm-up comes on top")
	f.Int("batch", 32, "messages that one receive asks for")
	f.Int("consumers", 0, "receives under way; default in-flight / 8")
	f.Duration("wait", 5*time.Second, "long poll of receives")
	f.Duration("invisible", time.Minute, "lease of received messages")
	f.Bool("no-ack", false, "leave received messages unacknowledged")
	f.Duration("drain", 30*time.Second, "e2e: how long to wait for missing messages without progress")
	f.StringSlice("server-pid", nil, "processes of the server on this machine, for its CPU and memory")
	outputFlags(f)
}

// benchOptions reads the flags.
func benchOptions(c *cobra.Command, s *settings) (o bench.Options, err error) {
	size, err := s.bytes("size")
	if err != nil {
		return o, err
	}
	o = bench.Options{
		Endpoint: benchEndpoint(c, s), TLS: s.k.Bool("tls"), Topic: s.k.String("topic"), Group: s.k.String("group"), Body: int(size),
		InFlight: s.k.Int("in-flight"), Connections: s.k.Int("connections"), Rate: s.k.Float64("rate"), WarmUp: s.k.Duration("warm-up"),
		Duration: s.k.Duration("duration"), Count: s.k.Int64("count"), Batch: s.k.Int("batch"), Consumers: s.k.Int("consumers"),
		Wait: s.k.Duration("wait"), Invisible: s.k.Duration("invisible"), NoAck: s.k.Bool("no-ack"), Drain: s.k.Duration("drain"),
	}
	if o.Count > 0 && !c.Flags().Changed("duration") {
		o.Duration = 0
	}
	if o.Count > 0 && !c.Flags().Changed("warm-up") {
		o.WarmUp = 0
	}
	for _, text := range s.list("server-pid") {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return o, usagef("--server-pid %q is no number", text)
		}
		o.PIDs = append(o.PIDs, pid)
	}
	complete := o
	if err := complete.Check(); err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

// benchEndpoint is what --endpoint says, else what --server or MANSIO_SERVER says.
func benchEndpoint(c *cobra.Command, s *settings) string {
	server := s.k.String("server")
	if c.Flags().Changed("endpoint") || os.Getenv(envPrefix+"ENDPOINT") != "" || server == "" {
		return s.k.String("endpoint")
	}
	return server
}
