// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mansiomq/mansio/controller/plan"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
)

// actionMax bounds one action: two commits and one round of calls.
const actionMax = 30 * time.Second

// leadPause is how long a node may take to report that it leads, after it was told
// again. Until then its report says what it said before.
const leadPause = 2 * time.Second

// start carries out an action in a goroutine of its own, unless its subject is
// busy or rests after a failure.
func (r *Reconciler) start(ctx context.Context, action plan.Action, lives map[ident.Node]uint64) {
	about := subject{shard: action.Shard}
	if action.Kind == plan.Create || action.Kind == plan.Adopt {
		about = subject{node: action.Node} // one new shard at a time on a node
	}
	cause := r.causeOf(action, lives)
	if !r.claim(about, cause) {
		return
	}
	select {
	case r.slots <- struct{}{}:
	default: // all are busy; the next round comes when one is done
		r.release(about, cause, nil)
		return
	}
	r.working.Go(func() {
		err := r.carryOut(ctx, action)
		<-r.slots
		r.release(about, cause, err)
		if err == nil && action.Kind == plan.Lead {
			r.rest(about, cause, leadPause)
		}
		if err != nil && ctx.Err() == nil {
			r.options.Log.WarnContext(ctx, "a repair failed; it is tried again", "action", action.String(), "error", err)
		}
		select {
		case r.done <- struct{}{}:
		default:
		}
	})
}

// causeOf names what a pause is about: the lives of the nodes concerned. A node
// that was restarted is tried again at once.
func (r *Reconciler) causeOf(action plan.Action, lives map[ident.Node]uint64) string {
	if action.Node != 0 {
		return fmt.Sprintf("%d:%d", action.Node, lives[action.Node])
	}
	var cause strings.Builder
	for _, member := range r.options.Table.Snapshot().Shard(action.Shard).GetInSync() {
		fmt.Fprintf(&cause, "%d:%d ", member.GetNode(), lives[ident.Node(member.GetNode())])
	}
	return cause.String()
}

// claim marks a subject busy, or reports that it is or rests.
func (r *Reconciler) claim(about subject, cause string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest, resting := r.mu.pauses[about]
	if r.mu.underway[about] || resting && rest.cause == cause && r.options.Now().Before(rest.until) {
		return false
	}
	r.mu.underway[about] = true
	return true
}

// release ends what claim began; a failure is followed by a pause.
func (r *Reconciler) release(about subject, cause string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.underway, about)
	if err == nil {
		delete(r.mu.pauses, about)
		return
	}
	rest := r.mu.pauses[about]
	if rest.cause != cause || rest.next == 0 {
		rest = pause{cause: cause, next: pauseFirst}
	}
	wait := rest.next
	if hopeless(err) {
		wait = pauseHopeless
	}
	rest.until = r.options.Now().Add(wait)
	rest.next = min(2*rest.next, pauseMax)
	r.mu.pauses[about] = rest
}

// rest leaves a subject alone for a while.
func (r *Reconciler) rest(about subject, cause string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.pauses[about] = pause{cause: cause, until: r.options.Now().Add(wait)}
}

func (r *Reconciler) carryOut(ctx context.Context, action plan.Action) error {
	ctx, cancel := context.WithTimeout(ctx, actionMax)
	defer cancel()
	switch action.Kind {
	case plan.Create:
		return r.create(ctx, action.Node)
	case plan.Adopt:
		return r.enter(ctx, action.Shard, action.Node, action.Incarnation)
	case plan.Elect:
		return r.elect(ctx, action.Shard)
	case plan.Lead:
		return r.lead(ctx, action.Shard, action.Node)
	default:
		return fault.Errorf("reconcile", fault.Internal, "cannot carry out %v", action)
	}
}
