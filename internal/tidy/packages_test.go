// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	mapPage  = "docs/ARCHITECTURE.md"
	mapBegin = "<!-- package-map:begin -->"
	mapEnd   = "<!-- package-map:end -->"
)

// roles are the trees that never import each other. What they share lies in internal and proto.
var roles = []string{"proxy", "storenode", "controller"}

// vocabulary may be imported by every package without an arrow in the map.
var vocabulary = []string{"internal/fault", "internal/invariant"}

// packageMap is the table of docs/ARCHITECTURE.md: package → what it may import of our own code.
type packageMap map[string][]string

// parsePackageMap reads the table between the markers: | package | one line | may import |, where packages stand in
// backquotes. A cell of imports is a list in backquotes, or `–` for none.
func parsePackageMap(page string) (packageMap, error) {
	_, rest, ok := strings.Cut(page, mapBegin)
	table, _, closed := strings.Cut(rest, mapEnd)
	if !ok || !closed {
		return nil, fmt.Errorf("no table between %s and %s", mapBegin, mapEnd)
	}
	rows := make(packageMap)
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			return nil, fmt.Errorf("row has %d cells, not 3: %s", len(cells), line)
		}
		names := quoted(cells[0])
		if len(names) != 1 {
			return nil, fmt.Errorf("row names %d packages, not 1: %s", len(names), line)
		}
		if strings.TrimSpace(cells[1]) == "" {
			return nil, fmt.Errorf("package %s has no line that says what it is", names[0])
		}
		if _, twice := rows[names[0]]; twice {
			return nil, fmt.Errorf("package %s has two rows", names[0])
		}
		rows[names[0]] = quoted(cells[2])
	}
	return rows, nil
}

// quoted returns what stands in backquotes.
func quoted(cell string) []string {
	var words []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}

// ownImports returns package → the packages of our own that its files import; tests says whether of test files.
func ownImports(sources []*source, tests bool) map[string][]string {
	arrows := make(map[string][]string)
	for _, s := range sources {
		if s.test != tests {
			continue
		}
		from := s.dir()
		arrows[from] = append(arrows[from], nil...)
		for _, importPath := range s.imports() {
			to, own := strings.CutPrefix(importPath, modulePath+"/")
			if own && to != from && !slices.Contains(arrows[from], to) {
				arrows[from] = append(arrows[from], to)
			}
		}
	}
	for _, to := range arrows {
		slices.Sort(to)
	}
	return arrows
}

// role returns the role tree that a package belongs to, or "".
func role(pkg string) string {
	for _, r := range roles {
		if pkg == r || strings.HasPrefix(pkg, r+"/") {
			return r
		}
	}
	return ""
}

// checkMap returns what is wrong between the map and the arrows of the code.
func checkMap(rows packageMap, arrows map[string][]string) []string {
	var wrong []string
	for _, from := range slices.Sorted(maps.Keys(arrows)) {
		allowed, ok := rows[from]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("package %s has no row in %s: add %s", from, mapPage, draftRow(from, arrows[from])))
			continue
		}
		for _, to := range arrows[from] {
			if !slices.Contains(allowed, to) && !slices.Contains(vocabulary, to) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which its row in %s does not allow", from, to, mapPage))
			}
		}
	}
	for _, from := range slices.Sorted(maps.Keys(rows)) {
		if _, ok := arrows[from]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s has a row for %s, but there is no such package", mapPage, from))
		}
		for _, to := range rows[from] {
			if _, ok := rows[to]; !ok {
				wrong = append(wrong, fmt.Sprintf("the row of %s names %s, which has no row itself", from, to))
			}
		}
	}
	return append(wrong, cycle(rows)...)
}

// draftRow returns the row that a package needs, but for the line that says what it is.
func draftRow(pkg string, imports []string) string {
	cell := "–"
	for i, to := range slices.DeleteFunc(slices.Clone(imports), func(to string) bool { return slices.Contains(vocabulary, to) }) {
		if i == 0 {
			cell = ""
		} else {
			cell += ", "
		}
		cell += "`" + to + "`"
	}
	return fmt.Sprintf("| `%s` | … | %s |", pkg, cell)
}

// checkRoles returns the arrows that lead from one role's tree into another's.
func checkRoles(arrows map[string][]string) []string {
	var wrong []string
	for _, from := range slices.Sorted(maps.Keys(arrows)) {
		for _, to := range arrows[from] {
			if r := role(to); role(from) != "" && r != "" && r != role(from) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: roles meet only in internal/assembly", from, to))
			}
		}
	}
	return wrong
}

// cycle returns one finding for each package that can be reached from itself.
func cycle(rows packageMap) []string {
	var wrong []string
	for _, start := range slices.Sorted(maps.Keys(rows)) {
		seen := make(map[string]bool)
		todo := slices.Clone(rows[start])
		for len(todo) > 0 {
			next := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if next == start {
				wrong = append(wrong, fmt.Sprintf("the arrows of %s lead back to it", start))
				break
			}
			if !seen[next] {
				seen[next] = true
				todo = append(todo, rows[next]...)
			}
		}
	}
	return wrong
}

func TestPackageMap(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, mapPage))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parsePackageMap(string(page))
	if err != nil {
		t.Fatal(err)
	}
	arrows := ownImports(tree(t), false)
	testArrows := ownImports(tree(t), true)
	for from := range testArrows {
		if _, ok := arrows[from]; !ok {
			t.Errorf("package %s has tests only and no doc.go", from)
		}
	}
	for _, wrong := range checkMap(rows, arrows) {
		t.Error(wrong)
	}
	for _, wrong := range slices.Concat(checkRoles(arrows), checkRoles(testArrows)) {
		t.Error(wrong)
	}
}

func TestPackageMapNotices(t *testing.T) {
	rows, err := parsePackageMap(mapBegin + "\n| package | one line | may import |\n|---|---|---|\n" +
		"| `a` | first | `b` |\n| `b` | second | `c`, `a` |\n| `proxy` | third | `storenode/x` |\n| `storenode/x` | fourth | – |\n" + mapEnd)
	if err != nil {
		t.Fatal(err)
	}
	arrows := map[string][]string{
		"a":           {"b", "internal/fault"},
		"b":           {"d"},
		"e":           {"a", "b", "internal/fault"},
		"proxy":       {"storenode/x"},
		"storenode/x": nil,
	}
	got := strings.Join(slices.Concat(checkMap(rows, arrows), checkRoles(arrows)), "\n")
	for _, want := range []string{
		"b imports d, which",
		"package e has no row in docs/ARCHITECTURE.md: add | `e` | … | `a`, `b` |",
		"the row of b names c, which has no row",
		"the arrows of a lead back to it",
		"proxy imports storenode/x: roles meet only",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not noticed: %s\nin: %s", want, got)
		}
	}
	if strings.Contains(got, "internal/fault") {
		t.Errorf("vocabulary needs no arrow: %s", got)
	}
	delete(arrows, "a")
	if got := strings.Join(checkMap(rows, arrows), "\n"); !strings.Contains(got, "a row for a, but there is no such package") {
		t.Errorf("a row without a package is not noticed: %s", got)
	}
}

func TestPackageMapRefusesBrokenTables(t *testing.T) {
	for name, page := range map[string]string{
		"no markers":   "| `a` | x | – |",
		"not closed":   mapBegin + "\n| `a` | x | – |",
		"four cells":   mapBegin + "\n| `a` | x | – | y |\n" + mapEnd,
		"two packages": mapBegin + "\n| `a` `b` | x | – |\n" + mapEnd,
		"no sentence":  mapBegin + "\n| `a` |  | – |\n" + mapEnd,
		"two rows":     mapBegin + "\n| `a` | x | – |\n| `a` | x | – |\n" + mapEnd,
	} {
		if rows, err := parsePackageMap(page); err == nil {
			t.Errorf("%s: accepted as %v", name, rows)
		}
	}
}
