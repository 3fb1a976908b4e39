// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mansiomq/mansio/internal/cli"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Limits of waiting for a process.
const (
	readyWithin = 60 * time.Second
	stopWithin  = 15 * time.Second
	lookEvery   = 2 * time.Millisecond
)

// process is one running role.
type process struct {
	role   string
	addr   string // its gRPC listener
	health string
	args   []string
	bin    string
	log    string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended, with err
	err    error
	// began is when the process was started last, ready when it was ready.
	began, ready time.Time
}

// start starts a role and waits until it is ready. Its data folder lies in the
// suite's, under name.
func (s *suite) start(ctx context.Context, role, name string, flags ...string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	health, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &process{role: role, addr: addr, health: health, bin: s.bin, log: filepath.Join(s.dir, name+".log")}
	p.args = append([]string{role, "--listen", addr, "--http-listen", health, "--log-level", "warn"}, flags...)
	if role != "proxy" {
		p.args = append(p.args, "--data", filepath.Join(s.dir, name))
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the process (again) and waits until it is ready.
func (p *process) run(ctx context.Context) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, p.bin, p.args...) //nolint:gosec // the binary under test
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.began = time.Now()
	if err := errors.Join(p.cmd.Start(), log.Close()); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		p.err = cmd.Wait()
		close(ended)
	}(p.cmd, p.ended)
	if err := p.await(ctx); err != nil {
		return errors.Join(err, p.kill())
	}
	p.ready = time.Now()
	return nil
}

// await waits until the process says that it is ready.
func (p *process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if healthy(ctx, p.health) {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready: %v (its log: %s)", p.role, p.err, p.tail()) //nolint:errorlint // nil when it ended well
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (its log: %s)", p.role, ctx.Err(), p.tail())
		case <-look.C:
		}
	}
}

func (p *process) tail() string {
	const most = 2000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(len(text)-most, 0):])
}

func healthy(ctx context.Context, address string) bool {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return false
	}
	defer func() { _ = r.Body.Close() }() // its status is all that counts
	return r.StatusCode == http.StatusOK
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process at once.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// stop ends the process in good order.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	limit := time.NewTimer(stopWithin)
	defer limit.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-limit.C:
		return errors.Join(fmt.Errorf("%s did not stop within %v", p.role, stopWithin), p.kill())
	}
}

// admin calls the administration of the server.
func (p *process) admin(call func(controlv1.AdminClient) error) error {
	conn, err := cli.Server{Address: p.addr, Timeout: 10 * time.Second}.Dial()
	if err != nil {
		return err
	}
	return errors.Join(call(controlv1.NewAdminClient(conn)), conn.Close())
}

// topic makes a topic.
func (p *process) topic(ctx context.Context, name string, queues uint32, reply controlv1.ReplyPoint) error {
	return p.admin(func(a controlv1.AdminClient) error {
		_, err := a.CreateTopic(ctx, &controlv1.CreateTopicRequest{
			Topic: &controlv1.Topic{Name: name, Type: controlv1.TopicType_TOPIC_TYPE_NORMAL, Reply: reply}, Queues: queues,
		})
		return err
	})
}

func freeAddress() (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
