// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// flagsOnPage reads the table of settings: which flags each role has.
func flagsOnPage(t *testing.T, path string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| flag | role | meaning |\n| --- | --- | --- |\n")
	if !ok {
		t.Fatal("there is no table of flags")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	all := []string{"controller", "storenode", "proxy"}
	roles := map[string][]string{"all": all, "all but proxy": all[:2], "controller": {"controller"}, "store node": {"storenode"}, "proxy": {"proxy"}}
	flags := make(map[string][]string)
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		for role := range strings.SplitSeq(cells[2], ",") {
			names := roles[strings.TrimSpace(role)]
			if names == nil {
				t.Errorf("no role: %s", row)
			}
			for _, name := range names {
				for _, f := range regexp.MustCompile("--[a-z0-9-]+").FindAllString(cells[1], -1) {
					flags[name] = append(flags[name], strings.TrimPrefix(f, "--"))
				}
			}
		}
	}
	return flags
}

// TestPageOfSettings: the page for operators names the flags of every role, and
// no others.
func TestPageOfSettings(t *testing.T) {
	page := flagsOnPage(t, "../../docs/OPERATING.md")
	missing := []string{"shards"} // what standalone has and no other role; the text names it
	for _, r := range []role{controller, storeNode, proxy} {
		var have []string
		c := r.command()
		c.Flags().VisitAll(func(f *pflag.Flag) { have = append(have, f.Name) })
		want := page[r.use]
		slices.Sort(want)
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: on the page and in the binary: %s", r.use, diff)
		}
		missing = append(missing, have...)
	}
	standalone.command().Flags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(missing, f.Name) {
			t.Errorf("--%s of standalone is on no line", f.Name)
		}
	})
}
