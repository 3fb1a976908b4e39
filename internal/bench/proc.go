// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// tick is the unit of CPU times in /proc: the kernel shows hundredths of a
// second to programs, whatever it counts in.
const tick = 10 * time.Millisecond

// sampleEvery is how often memory is looked at.
const sampleEvery = 100 * time.Millisecond

// usage watches the CPU and memory of processes on this machine. Without
// processes it knows nothing and costs nothing.
type usage struct {
	pids []int

	mu       sync.Mutex
	begun    bool
	cpuBegin time.Duration
	cpuEnd   time.Duration
	rssMax   int64
}

// watch samples from begin until ctx ends.
func (u *usage) watch(ctx context.Context, begin time.Time) {
	if len(u.pids) == 0 {
		return
	}
	first := time.NewTimer(time.Until(begin))
	defer first.Stop()
	select {
	case <-ctx.Done():
		return
	case <-first.C:
	}
	u.sample(true)
	every := time.NewTicker(sampleEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			u.sample(false)
		}
	}
}

func (u *usage) sample(begin bool) {
	cpu, rss := CPU(u.pids), RSS(u.pids)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.rssMax = max(u.rssMax, rss)
	if begin {
		u.begun, u.cpuBegin = true, cpu
	}
}

// finish notes the end of what is counted.
func (u *usage) finish() {
	cpu, rss := CPU(u.pids), RSS(u.pids)
	u.mu.Lock()
	u.cpuEnd, u.rssMax = cpu, max(u.rssMax, rss)
	u.mu.Unlock()
}

// spent is the CPU time between begin and finish, 0 when it is not known.
func (u *usage) spent() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.begun || u.cpuEnd < u.cpuBegin { // a process was replaced
		return 0
	}
	return u.cpuEnd - u.cpuBegin
}

// CPU is the time that processes have spent so far, all threads, in user and
// kernel mode. Those that are gone count as 0.
func CPU(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		sum += parseCPU(line)
	}
	return sum
}

// parseCPU reads utime and stime, fields 14 and 15: the command's name before
// them may hold anything, but ends at the last parenthesis.
func parseCPU(line []byte) (sum time.Duration) {
	_, rest, ok := bytes.Cut(line[max(bytes.LastIndexByte(line, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// RSS is the resident memory of processes in bytes.
func RSS(pids []int) (sum int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		sum += parseRSS(text)
	}
	return sum
}

func parseRSS(text []byte) int64 {
	_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
