// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// commandsMax bounds the commands that wait for one stream.
const commandsMax = 16

// Stream is one open telemetry stream. Its handler alone writes to the client:
// it takes commands from Commands until it ends.
type Stream struct {
	client   *Client
	commands chan *pb.TelemetryCommand
}

// Open registers a stream of the client; Close must follow.
func (c *Client) Open() *Stream {
	s := &Stream{client: c, commands: make(chan *pb.TelemetryCommand, commandsMax)}
	c.Hold()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.streams = append(c.mu.streams, s)
	return s
}

// Close takes the stream out; nowMS is a sign of life.
func (s *Stream) Close(nowMS int64) {
	c := s.client
	c.mu.Lock()
	if i := slices.Index(c.mu.streams, s); i >= 0 {
		c.mu.streams = slices.Delete(c.mu.streams, i, i+1)
	}
	c.mu.Unlock()
	c.Release(nowMS)
}

// Commands is where commands for the client arrive.
func (s *Stream) Commands() <-chan *pb.TelemetryCommand { return s.commands }

// Command hands a command to one of the client's streams, the newest first. It
// never waits; false: there is no stream, or its client does not read.
func (c *Client) Command(cmd *pb.TelemetryCommand) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range slices.Backward(c.mu.streams) {
		select {
		case s.commands <- cmd:
			return true
		default:
		}
	}
	return false
}
