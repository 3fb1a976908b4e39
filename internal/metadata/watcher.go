// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// retryFirst and retryMax bound the pause between two attempts to reach a controller: a restarted controller
	// is found at once, and a hundred waiting processes do not wear it down.
	retryFirst = 50 * time.Millisecond
	retryMax   = 2 * time.Second
	// firstAnswerMax is how long a controller may take to begin its answer before the next one is asked.
	firstAnswerMax = 10 * time.Second
)

// WatcherOptions says whom to ask and what to feed.
type WatcherOptions struct {
	Name        string // role and address, for people: it names laggards
	Controllers []grpc.ClientConnInterface
	Table       *Table
	Log         *slog.Logger // nil: nothing is logged
}

// Watcher keeps a table up to date from whichever controller leads.
type Watcher struct {
	options WatcherOptions
}

// NewWatcher makes a watcher; it starts nothing.
func NewWatcher(options WatcherOptions) *Watcher {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{options: options}
}

// Run feeds the table until ctx is done; it then returns nil. It fails only when
// the controllers belong to another cluster than the table (kind Incompatible),
// or when it was given none (kind Invalid).
func (w *Watcher) Run(ctx context.Context) error {
	if len(w.options.Controllers) == 0 {
		return fault.Errorf("metadata.Watcher.Run", fault.Invalid, "no controller to ask: give --controller")
	}
	pause := retryFirst
	wait := time.NewTimer(0)
	defer wait.Stop()
	lost := false // a break was logged and no controller has answered since
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		answered, err := w.watch(ctx, w.options.Controllers[i%len(w.options.Controllers)])
		if ctx.Err() != nil {
			return nil
		}
		if fault.Is(err, fault.Incompatible) {
			return err
		}
		if answered {
			pause, lost = retryFirst, false
		}
		if !lost {
			w.options.Log.WarnContext(ctx, "no metadata from the controller; what is known stays in use", "error", err)
			lost = true
		}
		wait.Reset(pause/2 + rand.N(pause)) // spread, so that many processes do not come at once
		pause = min(2*pause, retryMax)
	}
}

// watch follows one controller until it fails; answered says whether it gave its
// whole state before.
func (w *Watcher) watch(parent context.Context, controller grpc.ClientConnInterface) (answered bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	// A controller that accepts and says nothing must not keep us from the others.
	impatience := time.AfterFunc(firstAnswerMax, cancel)
	defer impatience.Stop()
	stream, err := controlv1.NewMetadataClient(controller).Watch(ctx)
	if err != nil {
		return false, err
	}
	report := &controlv1.WatchRequest{Watcher: w.options.Name, AppliedRevision: w.options.Table.Applied()}
	var state []*controlv1.WatchResponse // parts of one state that came so far
	for {
		if report != nil {
			_ = stream.Send(report) // it only says that the stream has ended; Recv says why
		}
		message, err := stream.Recv()
		if err != nil {
			return answered, err
		}
		impatience.Stop()
		report = nil
		state = append(state, message)
		if message.GetMore() {
			continue
		}
		if err := w.options.Table.Apply(state...); err != nil {
			return answered, err
		}
		answered, state = true, nil
		report = &controlv1.WatchRequest{AppliedRevision: message.GetRevision()}
	}
}
