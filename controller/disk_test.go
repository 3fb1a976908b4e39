// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"math"
	"sync/atomic"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// A full disk refuses what is new, and only that; with space everything goes on.
func TestFullDisk(t *testing.T) {
	w := realWorld(t)
	var free atomic.Int64
	free.Store(math.MaxInt64)
	c, stop := w.run("controller", Config{Data: folder(t, t.TempDir()), Embedded: true, Free: func(string) (int64, int64, error) {
		return free.Load(), math.MaxInt64, nil
	}})
	<-c.Ready()
	table := w.watch("proxy p1")
	w.node("n1", nil)
	await(t, table, "two led shards", allLed(2))
	if _, err := w.admin().CreateTopic(t.Context(), create("t", nil)); err != nil {
		t.Fatal(err)
	}
	free.Store(0)
	if _, err := w.admin().CreateTopic(t.Context(), create("u", nil)); !fault.Is(err, fault.DiskFull) {
		t.Errorf("%v", err)
	}
	if _, err := w.admin().DeleteTopic(t.Context(), &controlv1.DeleteTopicRequest{Name: "t"}); err != nil {
		t.Error(err)
	}
	free.Store(math.MaxInt64)
	if _, err := w.admin().CreateTopic(t.Context(), create("u", nil)); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
