// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

func TestLogdump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shard-000001")
	log, err := commitlog.Open(commitlog.Options{FS: disk.OS{}, Dir: dir, Shard: 1, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line  []string
		want  string
		usage bool
	}{
		{[]string{dir}, "segment base=8", false},
		{[]string{dir, "--json", "--from", "8", "--type", "message"}, `"kind":"segment"`, false},
		{[]string{dir, "--type", "letter"}, "TermStart", true},
		{[]string{}, "logdump DIR", true},
		{[]string{dir + "x"}, "shard-000001x", false},
	} {
		o := mansio(t, append([]string{"logdump"}, c.line...)...)
		text := o.out
		if o.failed != nil {
			text += oneLine(o.failed)
		}
		_, usage := errors.AsType[*usageError](o.failed)
		if usage != c.usage || !strings.Contains(text, c.want) || strings.Contains(text, "commitlog.Inspect") {
			t.Errorf("%v: %s, usage %v", c.line, text, usage)
		}
	}
	if _, err := os.Stat(dir + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error("looking at a log made one")
	}
}

func TestEntryTypes(t *testing.T) {
	if got, err := entryType("popgrant"); err != nil || got != record.TypePopGrant {
		t.Errorf("%v, %v", got, err)
	}
}
