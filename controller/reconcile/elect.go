// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/controller/plan"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// undecided is an election without a winner.
type undecided struct {
	reason   string
	hopeless bool
}

func (u *undecided) Error() string { return "no leader: " + u.reason }

// hopeless reports whether trying again soon would change nothing.
func hopeless(err error) bool {
	var u *undecided
	return errors.As(err, &u) && u.hopeless
}

// elect finds a leader for the shard in a new term.
func (r *Reconciler) elect(ctx context.Context, id ident.Shard) error {
	shard, err := r.raise(ctx, id)
	if err != nil {
		r.count(ctx, "conflict")
		return err
	}
	answers := r.fence(ctx, shard)
	// The nodes' own watches cannot be ahead of ours, which feeds them.
	if err := r.options.Table.WaitRevision(ctx, shard.GetRevision()); err != nil {
		return err
	}
	snapshot := r.options.Table.Snapshot()
	verdict := plan.Choose(shard, answers, plan.Metadata{
		Revision: snapshot.Revision(), EtcdClusterID: snapshot.Cluster().GetEtcdClusterId(),
	})
	if verdict.Leader == nil {
		return r.giveUp(ctx, shard, verdict)
	}
	decided := proto.CloneOf(shard)
	decided.Phase, decided.Leader = controlv1.Phase_PHASE_STEADY, verdict.Leader
	decided.LeaderInstance, decided.ClockMs = verdict.Instance, verdict.ClockMS
	revision, err := r.swap(ctx, decided)
	if err != nil {
		r.count(ctx, "conflict")
		return err
	}
	r.count(ctx, "elected")
	r.options.Log.InfoContext(ctx, "elected a leader",
		"shard", id, "term", decided.GetTerm(), "node", decided.GetLeader().GetNode())
	decided.Revision = revision
	// The winner hears it from its watch as well: if the call fails nothing is lost.
	if err := r.tell(ctx, decided); err != nil {
		r.options.Log.WarnContext(ctx, "the elected leader did not take the call; its watch tells it",
			"shard", id, "term", decided.GetTerm(), "error", err)
	}
	return r.options.Table.WaitRevision(ctx, revision)
}

// raise begins a new term. The result is the shard as it was written.
func (r *Reconciler) raise(ctx context.Context, id ident.Shard) (*controlv1.Shard, error) {
	shard := &controlv1.Shard{}
	revision, err := r.options.Book.Read(ctx, r.options.Book.Keys.Shard(id), shard)
	if err != nil {
		return nil, err
	}
	if revision == 0 {
		return nil, fault.Errorf("elect", fault.NotFound, "shard %d is gone", id)
	}
	shard.Term++
	shard.Phase, shard.Leader, shard.LeaderInstance = controlv1.Phase_PHASE_ELECTING, nil, 0
	shard.Revision, err = r.swap(ctx, shard)
	return shard, err
}

// swap writes the shard if its key is still at the shard's revision.
func (r *Reconciler) swap(ctx context.Context, shard *controlv1.Shard) (int64, error) {
	key := r.options.Book.Keys.Shard(ident.Shard(shard.GetId()))
	draft := &metastore.Draft{}
	draft.Expect(key, shard.GetRevision())
	draft.Put(key, shard)
	return r.options.Book.Commit(ctx, draft)
}

// fence asks every member of the in-sync set, in parallel.
func (r *Reconciler) fence(ctx context.Context, shard *controlv1.Shard) []plan.Answer {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	answers := make([]plan.Answer, len(shard.GetInSync()))
	defer r.addLives(answers)
	var asked sync.WaitGroup
	for i, member := range shard.GetInSync() {
		answers[i].Member = member
		asked.Go(func() {
			client, err := r.connect(ident.Node(member.GetNode()))
			if err == nil {
				answers[i].Response, err = client.Fence(ctx, &replicav1.FenceRequest{
					Shard: shard.GetId(), Term: shard.GetTerm(), Want: member,
				})
			}
			if err != nil {
				answers[i].Response, answers[i].Failure = nil, err.Error()
			}
		})
	}
	asked.Wait()
	return answers
}

// addLives notes which processes report at the end of the round of calls.
func (r *Reconciler) addLives(answers []plan.Answer) {
	lives := livesOf(r.options.Live())
	for i := range answers {
		answers[i].Life = lives[ident.Node(answers[i].Member.GetNode())]
	}
}

// giveUp notes why there is no leader, unless somebody else has gone on meanwhile.
func (r *Reconciler) giveUp(ctx context.Context, shard *controlv1.Shard, verdict plan.Verdict) error {
	id := ident.Shard(shard.GetId())
	now := &controlv1.Shard{}
	revision, err := r.options.Book.Read(ctx, r.options.Book.Keys.Shard(id), now)
	if err != nil {
		return err
	}
	if revision != shard.GetRevision() {
		return fault.Errorf("elect", fault.Conflict, "shard %d changed meanwhile", id)
	}
	r.count(ctx, "undecided")
	if verdict.Hopeless {
		r.block(ctx, id, verdict.Reason)
	}
	return &undecided{verdict.Reason, verdict.Hopeless}
}

// lead tells the leader again.
func (r *Reconciler) lead(ctx context.Context, id ident.Shard, node ident.Node) error {
	shard := r.options.Table.Snapshot().Shard(id)
	if shard.GetPhase() != controlv1.Phase_PHASE_STEADY || shard.GetLeader().GetNode() != uint64(node) {
		return nil // planned for an older state
	}
	return r.tell(ctx, shard)
}

func (r *Reconciler) tell(ctx context.Context, shard *controlv1.Shard) error {
	client, err := r.connect(ident.Node(shard.GetLeader().GetNode()))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	response, err := client.Lead(ctx, &replicav1.LeadRequest{Shard: shard})
	if err != nil {
		return err
	}
	if response.GetRefusal() != "" {
		return fault.Errorf("lead", fault.Conflict, "refused: %s", response.GetRefusal())
	}
	return nil
}
