// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/mansiomq/mansio/internal/fault"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

const (
	// ensureMax is how long the controller may take to create a topic or a group
	// on first use; it answers within a second or so.
	ensureMax = 3 * time.Second
	// namesMax is up to how many topics, and groups, new ones are created on first
	// use: beyond that it is rather a mistake that makes up names.
	namesMax = 10_000
	// createBurst and createPerSecond bound how quickly this proxy has names
	// created; of a group's starts in one more topic nameCost cost as much.
	createBurst     = 500
	createPerSecond = 20
	nameCost        = 16
)

func newAllowance() *rate.Limiter {
	return rate.NewLimiter(createPerSecond*nameCost, createBurst*nameCost)
}

// creation is something that is created on first use.
type creation struct {
	what, name string // "topic" or "consumer group"
	place      string // of a group: the topic
	missing    pb.Code
	named      bool // the name is new
	have, most int  // how many of the kind there are, and may be
	do         func(context.Context) (any, error)
}

// create has something created; many at once ask once.
func (p *Proxy) create(ctx context.Context, n *creation) (any, *pb.Status) {
	v, err, _ := p.creating.Do(n.what+" "+n.name+" "+n.place, func() (any, error) {
		err := p.mayCreate(n)
		var v any
		if err == nil {
			within := ensureMax
			if deadline, limited := ctx.Deadline(); limited {
				within = min(within, deadline.Sub(p.o.Now())-answerMargin)
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
			defer cancel()
			v, err = n.do(ctx)
		}
		if err != nil && p.refusals.AllowN(p.o.Now(), 1) {
			p.o.Log.WarnContext(ctx, "creation on first use failed", "what", n.what, "name", n.name, "error", err)
		}
		return v, err
	})
	switch fault.KindOf(err) {
	case fault.Denied, fault.Unsupported, fault.Incompatible, fault.NotFound:
		return nil, statusf(n.missing, "%s %s does not exist: %v", n.what, n.name, err)
	case fault.Invalid:
		return nil, statusf(pb.Code_BAD_REQUEST, "%s %s: %v", n.what, n.name, err)
	case fault.Throttled, fault.DiskFull:
		return nil, statusf(pb.Code_TOO_MANY_REQUESTS, "%s %s is not created: %v", n.what, n.name, err)
	default:
		if err != nil {
			return nil, statusf(pb.Code_INTERNAL_SERVER_ERROR, "%s %s could not be created: %v", n.what, n.name, err)
		}
	}
	return v, nil
}

func (p *Proxy) mayCreate(n *creation) error {
	cost := 1
	if n.named {
		if n.have >= n.most {
			return fault.Errorf("", fault.Throttled, "there are %d, at most %d are created on first use; create it by hand", n.have, n.most)
		}
		cost = nameCost
	}
	if !p.allowance.AllowN(p.o.Now(), cost) {
		return fault.Errorf("", fault.Throttled, "this proxy has had too many created just now")
	}
	return nil
}

// seldomEvery is the shortest time between two log lines on one matter that
// clients can bring about.
const seldomEvery = 10 * time.Second

// seldom says when to log such a line.
func seldom() *rate.Limiter { return rate.NewLimiter(rate.Every(seldomEvery), 1) }
