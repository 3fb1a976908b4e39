// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/mansiomq/mansio/internal/fault"
)

// Comparison is the server against the yardstick.
type Comparison struct {
	Mode        string  `json:"mode"` // of the server: send or e2e
	InFlight    int     `json:"in_flight"`
	Connections int     `json:"connections"`
	TLS         bool    `json:"tls"`
	Body        int     `json:"body_bytes"`
	Rounds      []Round `json:"rounds"`
	// Throughput is the median of server ÷ echo in messages per second, P50 of the
	// latencies, CPU of the processor time per message (0: not known).
	Throughput float64 `json:"throughput_ratio"`
	P50        float64 `json:"p50_ratio"`
	CPU        float64 `json:"cpu_ratio"`
}

// Round is one run of each.
type Round struct {
	Echo   *Result `json:"echo"`
	Server *Result `json:"server,omitempty"`
}

// Compare runs the echo server and, when Endpoint is set, alternates it with the
// server, rounds times; run is Send or E2E. self is the command line that becomes
// the echo server: it calls ServeEcho and ends when its standard input does.
func Compare(ctx context.Context, o Options, rounds int, run func(context.Context, Options) (*Result, error), self []string) (*Comparison, error) {
	if rounds < 1 {
		return nil, fault.Errorf("bench", fault.Invalid, "%d rounds", rounds)
	}
	if o.Topic == "" && o.Endpoint == "" {
		o.Topic = "echo"
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	c := &Comparison{InFlight: o.InFlight, Connections: o.Connections, TLS: o.TLS, Body: o.Body, Mode: "echo"}
	for i := range rounds {
		o.Progress(fmt.Sprintf("round %d of %d", i+1, rounds))
		var round Round
		var err error
		if round.Echo, err = oneEcho(ctx, o, self); err != nil {
			return nil, err
		}
		if o.Endpoint != "" {
			if round.Server, err = run(ctx, o); err != nil {
				return nil, err
			}
			c.Mode = round.Server.Mode
		}
		c.Rounds = append(c.Rounds, round)
	}
	c.judge()
	return c, nil
}

// judge computes the medians of the rounds' ratios.
func (c *Comparison) judge() {
	var throughput, p50, cpu []float64
	for _, r := range c.Rounds {
		if r.Server == nil {
			return
		}
		throughput = append(throughput, ratio(r.Server.PerSecond, r.Echo.PerSecond))
		p50 = append(p50, ratio(r.Server.Latency.P50, r.Echo.Latency.P50))
		cpu = append(cpu, ratio(r.Server.CPUMicros, r.Echo.CPUMicros))
	}
	c.Throughput, c.P50, c.CPU = median(throughput), median(p50), median(cpu)
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// oneEcho measures sends to an echo server of its own.
func oneEcho(ctx context.Context, o Options, self []string) (*Result, error) {
	server, err := startChild(ctx, self)
	if err != nil {
		return nil, fmt.Errorf("echo server: %w", err)
	}
	o.Endpoint, o.PIDs = server.address, []int{server.cmd.Process.Pid}
	r, err := Send(ctx, o)
	if err == nil {
		r.Mode = "echo"
	}
	return r, errors.Join(err, server.stop())
}

// child is an echo server in a process of its own.
type child struct {
	cmd     *exec.Cmd
	stdin   interface{ Close() error }
	address string
}

func startChild(ctx context.Context, self []string) (*child, error) {
	cmd := exec.CommandContext(ctx, self[0], self[1:]...) //nolint:gosec // this very program
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return &child{cmd: cmd, stdin: in, address: strings.TrimSpace(line)}, nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	return errors.Join(c.stdin.Close(), c.cmd.Wait())
}
