// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyWithin = 20 * time.Second // a start is allowed 1 s on a free machine; tests share theirs
	stopWithin  = 12 * time.Second // the server itself promises 10 s after SIGTERM
	logTailMax  = 4096             // bytes of the log that an error quotes
)

// Process is one running mansio. Its methods may be called from one goroutine at a time.
type Process struct {
	// Addr is the gRPC listener, host:port.
	Addr string
	// HTTP is the health and metrics listener, host:port.
	HTTP string
	// Data is the data folder, "" for a proxy.
	Data string

	bin  string
	args []string
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	dead chan struct{}
	err  error
}

// Spec says what to start.
type Spec struct {
	// Bin is the path of the binary.
	Bin string
	// Role is the subcommand: standalone, controller, storenode or proxy.
	Role string
	// Dir is the folder for the data and the log; it must be the process's own.
	Dir string
	// Flags are added behind the addresses and the data folder.
	Flags []string
}

// Start runs the process and returns when /readyz answers 200.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	p, err := Prepare(spec)
	if err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Prepare picks addresses and the command line and starts nothing.
func Prepare(spec Spec) (*Process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	web, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p := &Process{Addr: addr, HTTP: web, bin: spec.Bin, log: filepath.Join(spec.Dir, spec.Role+".log")}
	p.args = []string{spec.Role, "--listen", addr, "--http-listen", web}
	if spec.Role != "proxy" {
		p.Data = filepath.Join(spec.Dir, spec.Role+"-data")
		p.args = append(p.args, "--data", p.Data)
	}
	p.args = append(p.args, spec.Flags...)
	return p, nil
}

// Start runs a prepared, stopped or killed process on its addresses and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(p.bin, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	dead := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.dead = cmd, dead
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(dead)
	}()
	if err := p.awaitReady(ctx, dead); err != nil {
		p.Kill()
		return fmt.Errorf("%s: %w\n%s", strings.Join(p.args, " "), err, p.LogTail())
	}
	return nil
}

func (p *Process) awaitReady(ctx context.Context, dead <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx, p.HTTP) {
			return nil
		}
		select {
		case <-dead:
			return errors.New("the process ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func ready(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Stop asks the process to end (SIGTERM) and kills it when it does not within its own promise. It returns an error
// when the process had to be killed or ended with an exit code other than 0.
func (p *Process) Stop() error {
	cmd, dead := p.running()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stopWithin)
	defer limit.Stop()
	select {
	case <-dead:
	case <-limit.C:
		p.Kill()
		return fmt.Errorf("%s did not stop within %v of SIGTERM", p.args[0], stopWithin)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Process) Kill() {
	cmd, dead := p.running()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-dead
}

// Dead is closed when the process that runs now has ended.
func (p *Process) Dead() <-chan struct{} {
	_, dead := p.running()
	return dead
}

// LogTail returns the end of what the process printed.
func (p *Process) LogTail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > logTailMax {
		text = text[len(text)-logTailMax:]
	}
	return string(text)
}

// Run runs one command of the binary to its end and returns what it printed; an exit code other than 0 is an error.
func Run(ctx context.Context, bin string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func (p *Process) running() (*exec.Cmd, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.dead
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
