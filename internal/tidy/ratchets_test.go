// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ratchetFile lists the findings that are tolerated today.
const ratchetFile = "testdata/ratchets.txt"

var shrink = flag.Bool("shrink", false, "lower and remove entries of "+ratchetFile+" whose findings have shrunk or gone")

// finding is one place that breaks a rule.
type finding struct {
	rule string
	// place names file and symbol, without line numbers.
	place string
	// size is what the rule measures, or 1 for each occurrence.
	size int
	// hint says what to do instead.
	hint string
}

// key names the finding in the list.
func (f finding) key() string { return f.rule + " " + f.place }

func (f finding) String() string {
	return fmt.Sprintf("%s: %s (%d): %s", f.place, f.rule, f.size, f.hint)
}

// rule looks at one file.
type rule func(s *source) []finding

// rules are all rules of this package.
var rules = []rule{
	fileLength, functionLength, parameters, interfaceMethods,
	exportedDocs, licenceHeader, packageNames,
	bannedCalls, clockReads, skippedTests, waitsInLoops, unfinishedWork,
}

// collect runs all rules over hand-written files and adds up the findings of one place.
func collect(sources []*source) map[string]finding {
	found := make(map[string]finding)
	add := func(f finding) {
		if before, ok := found[f.key()]; ok {
			f.size += before.size
		}
		found[f.key()] = f
	}
	for _, s := range sources {
		if s.generated {
			continue
		}
		for _, check := range rules {
			for _, f := range check(s) {
				add(f)
			}
		}
	}
	for _, f := range packageDocs(sources) {
		add(f)
	}
	return found
}

// parseList reads the list: RULE PLACE SIZE a line; lines that begin with # are comments.
func parseList(text string) (map[string]int, error) {
	tolerated := make(map[string]int)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: want RULE PLACE SIZE, got %q", ratchetFile, line)
		}
		size, err := strconv.Atoi(fields[2])
		if err != nil {
			return nil, fmt.Errorf("%s: size of %q: %w", ratchetFile, line, err)
		}
		tolerated[fields[0]+" "+fields[1]] = size
	}
	return tolerated, nil
}

// compare returns what the list does not tolerate, and the list as it could be.
func compare(found map[string]finding, tolerated map[string]int) (wrong []string, tight map[string]int) {
	tight = make(map[string]int)
	for _, key := range slices.Sorted(maps.Keys(found)) {
		f := found[key]
		limit, ok := tolerated[key]
		if ok {
			tight[key] = min(limit, f.size)
		}
		switch {
		case !ok:
			wrong = append(wrong, f.String())
		case f.size > limit:
			wrong = append(wrong, fmt.Sprintf("%s; it was %d and may only shrink", f, limit))
		case f.size < limit:
			wrong = append(wrong, fmt.Sprintf("%s: %d is listed, %d is true: lower the entry (go test ./internal/tidy -shrink)", key, limit, f.size))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tolerated)) {
		if _, ok := found[key]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s: is listed, but gone: remove the entry (go test ./internal/tidy -shrink)", key))
		}
	}
	return wrong, tight
}

// formatList writes the list, sorted.
func formatList(tolerated map[string]int) string {
	var b strings.Builder
	b.WriteString("# Findings that are tolerated today: RULE PLACE SIZE. Entries may only shrink; see doc.go.\n")
	for _, key := range slices.Sorted(maps.Keys(tolerated)) {
		fmt.Fprintf(&b, "%s %d\n", key, tolerated[key])
	}
	return b.String()
}

func TestRatchets(t *testing.T) {
	text, err := os.ReadFile(ratchetFile)
	if err != nil {
		t.Fatal(err)
	}
	tolerated, err := parseList(string(text))
	if err != nil {
		t.Fatal(err)
	}
	found := collect(tree(t))
	wrong, tight := compare(found, tolerated)
	if *shrink {
		if err := os.WriteFile(ratchetFile, []byte(formatList(tight)), 0o644); err != nil {
			t.Fatal(err)
		}
		wrong, _ = compare(found, tight)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

func TestRatchetsOnlyShrink(t *testing.T) {
	found := map[string]finding{
		"r same": {rule: "r", place: "same", size: 3},
		"r grew": {rule: "r", place: "grew", size: 4},
		"r less": {rule: "r", place: "less", size: 2},
		"r new":  {rule: "r", place: "new", size: 1, hint: "do better"},
	}
	tolerated, err := parseList("# comment\n\nr same 3\nr grew 3\nr less 3\nr gone 3\n")
	if err != nil {
		t.Fatal(err)
	}
	wrong, tight := compare(found, tolerated)
	want := []string{
		"grew: r (4): ; it was 3 and may only shrink",
		"r less: 3 is listed, 2 is true: lower the entry (go test ./internal/tidy -shrink)",
		"new: r (1): do better",
		"r gone: is listed, but gone: remove the entry (go test ./internal/tidy -shrink)",
	}
	if !slices.Equal(wrong, want) {
		t.Errorf("got  %q\nwant %q", wrong, want)
	}
	if want := map[string]int{"r same": 3, "r grew": 3, "r less": 2}; !maps.Equal(tight, want) {
		t.Errorf("the list would become %v, not %v", tight, want)
	}
	again, err := parseList(formatList(tight))
	if err != nil || !maps.Equal(again, tight) {
		t.Errorf("what is written reads back as %v, %v", again, err)
	}
	for _, bad := range []string{"r place", "r place x", "r place 1 2"} {
		if got, err := parseList(bad); err == nil {
			t.Errorf("%q is accepted as %v", bad, got)
		}
	}
}
