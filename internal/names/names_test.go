// SPDX-License-Identifier: Apache-2.0

package names

import (
	"strings"
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name               string
		topic, group, node bool
	}{
		{"a", true, true, true},
		{"Order-2_x", true, true, true},
		{"a|b%c", true, true, false},
		{"a.b", false, false, true},
		{"", false, false, false},
		{" ", false, false, false},
		{"a b", false, false, false},
		{"a/b", false, false, false},
		{"a\nb", false, false, false},
		{"ärger", false, false, false},
		{"TBW102", false, true, true},
		{"RMQ_SYS_TRANS_HALF_TOPIC", false, true, true},
		{"rmq_sys_x", false, true, true},
		{"CID_RMQ_SYS_x", true, false, true},
		{"CID_ONS-HTTP-PROXY", true, false, true},
		{"TOOLS_CONSUMER", true, false, true},
		{"TOOLS_CONSUMER_1", true, true, true},
		{"%DLQ%g", true, false, false},
		{"%RETRY%g", true, false, false},
		{strings.Repeat("n", NodeMax), true, true, true},
		{strings.Repeat("n", GroupMax), true, true, false},
		{strings.Repeat("n", GroupMax+1), true, false, false},
		{strings.Repeat("n", TopicMax), true, false, false},
		{strings.Repeat("n", TopicMax+1), false, false, false},
	} {
		for what, check := range map[string]struct {
			err  error
			want bool
		}{
			"topic": {Topic(c.name), c.topic},
			"group": {Group(c.name), c.group},
			"node":  {Node(c.name), c.node},
		} {
			if (check.err == nil) != check.want || check.err != nil && !fault.Is(check.err, fault.Invalid) {
				t.Errorf("%s %q: %v", what, c.name, check.err)
			}
		}
		if (Topic([]byte(c.name)) == nil) != c.topic {
			t.Errorf("topic %q as bytes: not %v", c.name, c.topic)
		}
	}
	// A dead-letter topic of the longest group name fits into a topic name.
	if err := Topic(DeadLetters(strings.Repeat("n", GroupMax))); err != nil {
		t.Error(err)
	}
}

func TestLite(t *testing.T) {
	for name, want := range map[string]bool{
		"session-7_a": true, strings.Repeat("n", LiteMax): true, strings.Repeat("n", LiteMax+1): false, "": false, " ": false, "a%b": false, "ä": false,
	} {
		if Lite([]byte(name)) != want {
			t.Errorf("%q: not %v", name, want)
		}
	}
}

func TestRightNamesNeedNoMemory(t *testing.T) {
	name := []byte(strings.Repeat("n", TopicMax))
	if n := testing.AllocsPerRun(100, func() { _ = Topic(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
