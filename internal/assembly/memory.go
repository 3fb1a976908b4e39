// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

const (
	// heapFloor is the heap below which the collector does not run under load: a
	// proxy's live heap is tiny, and collecting at every few MiB costs a third of
	// its throughput.
	heapFloor = 64 << 20
	// idleFloor is the same after a while without traffic.
	idleFloor = 32 << 20
	// idleAfter is how long nothing must have been allocated to speak of.
	idleAfter = 10 * time.Second
	// idleBytes is what a process without clients allocates in that time.
	idleBytes = 8 << 20
	// budgetShare is the part of the machine's memory that is ours when nobody
	// says otherwise, and budgetMin the least of it.
	budgetShare = 4
	budgetMin   = 256 << 20
)

// setMemory makes the budget the collector's limit.
func setMemory(budget int64) {
	if budget == 0 {
		budget = max(min(cgroupBytes(), machineBytes()/budgetShare), budgetMin)
	}
	debug.SetMemoryLimit(budget)
}

// idleCollector keeps the collector's next target at heapFloor while there is
// traffic, and gives memory back once when there is none.
func idleCollector(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	var last uint64
	var quiet time.Duration
	idle := false
	for {
		metrics.Read(sample)
		allocated, live := sample[0].Value.Uint64(), sample[1].Value.Uint64()
		if allocated-last < idleBytes/uint64(idleAfter/time.Second) {
			quiet += time.Second
		} else {
			quiet, idle = 0, false
		}
		last = allocated
		switch {
		case quiet >= idleAfter && !idle:
			idle = true
			setFloor(live, idleFloor)
			debug.FreeOSMemory()
		case !idle:
			setFloor(live, heapFloor)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// setFloor chooses the growth after which the heap is collected: doubling, but
// never below the floor.
func setFloor(live, floor uint64) {
	percent := 100
	if live > 0 && live*2 < floor {
		percent = int(min((floor-live)*100/live, 10_000))
	}
	debug.SetGCPercent(percent)
}

func machineBytes() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil || runtime.GOOS != "linux" {
		return budgetMin * budgetShare
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return budgetMin * budgetShare
}

// cgroupBytes is the container's limit, or as good as none.
func cgroupBytes() int64 {
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 1 << 62
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 1 << 62
	}
	return n
}
