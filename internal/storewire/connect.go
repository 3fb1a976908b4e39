// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/storeapi"
)

const (
	// welcomeWithin bounds one attempt: dial, hello and welcome.
	welcomeWithin = 3 * time.Second
	// Failed attempts are backoffMin apart at first, then twice as long each,
	// backoffMax at most: a store that comes back is found soon, and one that
	// stays away costs little.
	backoffMin = 20 * time.Millisecond
	backoffMax = time.Second
	// steadyAfter is how long a stream must have lived to count as a success: one
	// that breaks sooner is followed by a wait.
	steadyAfter = time.Second
	// closeWithin bounds how long a stopping store may take for its last answers.
	closeWithin = 15 * time.Second
)

// run connects, serves the stream until it breaks, and does so again, until ctx
// ends.
func (l *lane) run(ctx context.Context) {
	defer func() {
		l.set(closed)
		l.endAll(notSent, storeapi.Unavailable, "the proxy is stopping")
	}()
	failures := 0
	for ctx.Err() == nil {
		lived, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if lived >= steadyAfter {
			failures = 0
			continue
		}
		if lived == 0 {
			l.set(down) // until a stream is up
			l.endAll(notSent, storeapi.Unavailable, "no stream to the store node: "+err.Error())
		}
		if !pause(ctx, backoff(failures)) {
			return
		}
		failures++
	}
}

func backoff(failures int) time.Duration {
	d := min(backoffMin<<min(failures, 10), backoffMax)
	return d*4/5 + rand.N(d*2/5)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// once makes one stream and serves it to its end. lived is 0 when there was
// none. When it returns nothing is written and unanswered.
func (l *lane) once(ctx context.Context) (lived time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.connect(ctx, cancel)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	l.set(up)
	l.log.Debug("stream to the store is up")
	closing := make(chan struct{})
	var limit *time.Timer
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		return l.receive(stream, func() {
			l.storeCloses(closing)
			limit = time.AfterFunc(closeWithin, cancel)
		})
	})
	g.Go(func() error {
		s := &sender{l: l, stream: stream}
		s.build.pool = framePool
		if err := s.run(ctx, closing); err != nil {
			cancel()
			return err
		}
		return nil
	})
	err = g.Wait()
	if limit != nil {
		limit.Stop()
	}
	l.mu.Lock()
	if l.mu.link == up {
		l.mu.link = connecting
		l.isUp.Store(false)
	}
	l.mu.Unlock()
	l.endAll(sent, storeapi.Unknown, "the stream to the store node broke")
	l.log.Debug("stream to the store ended", "error", err)
	return max(time.Since(begin), 1), err
}

// connect makes a stream that the store has welcomed.
func (l *lane) connect(ctx context.Context, cancel func()) (grpc.ClientStream, error) {
	limit := time.AfterFunc(welcomeWithin, cancel)
	defer limit.Stop()
	stream, err := l.client.Exchange(ctx, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(l.hello.frame()); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var in inFrame
	if err := stream.RecvMsg(&in); err != nil { // also says why SendMsg met EOF
		return nil, err
	}
	if err := checkWelcome(in.data); err != nil {
		return nil, err
	}
	if !limit.Stop() {
		return nil, errors.New("the store's welcome came too late")
	}
	return stream, nil
}

// storeCloses is called once when the store says that it is stopping.
func (l *lane) storeCloses(closing chan struct{}) {
	l.set(down)
	l.endAll(notSent, storeapi.Unavailable, "the store node is stopping")
	close(closing)
}
