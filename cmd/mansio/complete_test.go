// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCompletions asks as a shell does.
func TestCompletions(t *testing.T) {
	_, address := start(t)
	for _, line := range []string{"topic create orders", "topic create other", "group create billing"} {
		if o := mansio(t, append(strings.Fields(line), "--server", address)...); o.failed != nil {
			t.Fatal(o.failed)
		}
	}
	at := "--server=" + address
	for line, want := range map[string]string{
		"topic create x --type d":                "delay fifo lite mixed normal priority transaction",
		"topic create x --reply w":               "all committed written",
		"group create g --consume-from ea":       "earliest latest",
		"topic list -o j":                        "table json yaml",
		"proxy --log-level w":                    "debug info warn error",
		"topic create o":                         "",
		"topic describe " + at + " or":           "orders",
		"send " + at + " ot":                     "other",
		"send " + at + " orders o":               "",
		"receive " + at + " orders --group b":    "billing",
		"group lag " + at + " b":                 "billing",
		"topic describe --server=127.0.0.1:1 or": "",
	} {
		o := mansio(t, append([]string{"__complete"}, strings.Fields(line)...)...)
		got, _, _ := strings.Cut(o.out, ":4\n") // what follows is: no files
		if diff := cmp.Diff(want, strings.Join(strings.Fields(got), " ")); diff != "" || o.failed != nil {
			t.Errorf("%s: %s (%v)", line, diff, o.failed)
		}
	}
}

func TestUnknownHelp(t *testing.T) {
	for _, line := range []string{"help nosuch", "help topic nosuch", "completion tcsh", "topic nosuch"} {
		o := mansio(t, strings.Fields(line)...)
		if _, usage := errors.AsType[*usageError](o.failed); !usage {
			t.Errorf("%s: %v", line, o.failed)
		}
	}
	for line, want := range map[string]string{"help": "standalone", "help topic create": "--queues", "completion": "bash", "completion bash": "__complete"} {
		if o := mansio(t, strings.Fields(line)...); o.failed != nil || !strings.Contains(o.out, want) {
			t.Errorf("%s: %v, %.80q", line, o.failed, o.out)
		}
	}
}
