// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const dependencyPage = "docs/DEPENDENCIES.md"

// Licences of modules that the binary may link; tests may also use those of testLicences.
var (
	linkedLicences = []string{"Apache-2.0", "BSD", "ISC", "MIT"}
	testLicences   = append(slices.Clone(linkedLicences), "MPL-2.0")
)

// licencePhrases tell licences apart; of several in one file the first one that appears counts.
var licencePhrases = map[string]string{
	"Apache-2.0": "apache license version 2.0",
	"BSD":        "redistribution and use in source and binary forms",
	"GPL":        "gnu general public license",
	"AGPL":       "gnu affero general public license",
	"LGPL":       "gnu lesser general public license",
	"ISC":        "permission to use, copy, modify, and/or distribute this software for any purpose",
	"MIT":        "permission is hereby granted, free of charge",
	"MPL-2.0":    "mozilla public license",
	"BUSL":       "business source license",
}

// licence names the licence of a text, or "" if it is none that we know.
func licence(text string) string {
	words := strings.ReplaceAll(strings.Join(strings.Fields(strings.ToLower(text)), " "), "license, version", "license version")
	name, first := "", len(words)
	for candidate, phrase := range licencePhrases {
		if at := strings.Index(words, phrase); at >= 0 && at < first {
			name, first = candidate, at
		}
	}
	return name
}

// licenceOf reads the licence file of the module in dir.
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return "", err
		}
		if found := licence(string(text)); found != "" {
			return found, nil
		}
	}
	return "", fmt.Errorf("no known licence in %s", dir)
}

// modules returns path → folder of the modules that the named packages need.
func modules(t *testing.T, args ...string) map[string]string {
	t.Helper()
	const format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}"
	found := make(map[string]string)
	for line := range strings.Lines(run(t, append([]string{"list", "-e", "-deps", "-f", format}, args...)...)) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found[name] = dir
		}
	}
	return found
}

// run runs the go command at the top of the repository and returns what it prints.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func TestLicences(t *testing.T) {
	check := func(mods map[string]string, accepted []string, what string) {
		if len(mods) == 0 {
			t.Errorf("%s: no modules at all", what)
		}
		for _, name := range slices.Sorted(maps.Keys(mods)) {
			found, err := licenceOf(mods[name])
			switch {
			case err != nil:
				t.Errorf("%s: %s: %v", what, name, err)
			case !slices.Contains(accepted, found):
				t.Errorf("%s: %s has licence %s; accepted are %v", what, name, found, accepted)
			}
		}
	}
	check(modules(t, "./cmd/mansio"), linkedLicences, "linked")
	check(modules(t, "-test", "./..."), testLicences, "tests")
}

func TestLicenceIsTold(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                            "Apache-2.0",
		"Licensed under the Apache License, Version 2.0":                                          "Apache-2.0",
		"MIT License\n\nPermission is hereby\ngranted, free of charge, to":                        "MIT",
		"Redistribution and use in source and binary forms, with":                                 "BSD",
		"Mozilla Public License Version 2.0":                                                      "MPL-2.0",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3":                                                   "GPL",
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                                       "AGPL",
		"Permission to use, copy, modify, and/or distribute this software for any purpose":        "ISC",
		"Permission is hereby granted, free of charge ... Redistribution and use in source and b": "MIT",
		"All rights reserved.":                                                                    "",
	} {
		if got := licence(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// requirements returns the modules that go.mod requires, and those of its tools.
func requirements(t *testing.T) (required, tools []string) {
	t.Helper()
	var mod struct {
		Require []struct {
			Path string `json:"Path"`
		} `json:"Require"`
		Tool []struct {
			Path string `json:"Path"`
		} `json:"Tool"`
	}
	if err := json.Unmarshal([]byte(run(t, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		required = append(required, r.Path)
	}
	for _, tool := range mod.Tool {
		tools = append(tools, owner(required, tool.Path))
	}
	return required, tools
}

// owner returns the module that a package belongs to: the longest required path that it begins with, or "".
func owner(required []string, importPath string) string {
	best := ""
	for _, m := range required {
		if (importPath == m || strings.HasPrefix(importPath, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

// direct returns the modules that our files import themselves, and the modules of the tools.
func direct(t *testing.T) map[string]bool {
	t.Helper()
	required, tools := requirements(t)
	found := make(map[string]bool)
	for _, m := range tools {
		found[m] = true
	}
	for _, s := range tree(t) {
		for _, importPath := range s.imports() {
			if m := owner(required, importPath); m != "" {
				found[m] = true
			}
		}
	}
	return found
}

// dependencyRows reads the table of docs/DEPENDENCIES.md: module → licence.
func dependencyRows(page string) (map[string]string, error) {
	rows := make(map[string]string)
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			return nil, fmt.Errorf("row has %d cells, not module, why, licence, who: %s", len(cells), line)
		}
		for _, cell := range cells {
			if strings.TrimSpace(cell) == "" {
				return nil, fmt.Errorf("row has an empty cell: %s", line)
			}
		}
		names := quoted(cells[0])
		if len(names) != 1 {
			return nil, fmt.Errorf("row names %d modules, not 1: %s", len(names), line)
		}
		rows[names[0]] = strings.TrimSpace(cells[2])
	}
	return rows, nil
}

func TestDependencyPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, dependencyPage))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := dependencyRows(string(page))
	if err != nil {
		t.Fatal(err)
	}
	needed := direct(t)
	for _, m := range slices.Sorted(maps.Keys(needed)) {
		if _, ok := rows[m]; !ok {
			t.Errorf("%s has no row in %s: say why it is needed, its licence, and who looks after it", m, dependencyPage)
		}
	}
	dirs := modules(t, "-test", "./...")
	for _, m := range slices.Sorted(maps.Keys(rows)) {
		if !needed[m] {
			t.Errorf("%s has a row for %s, which nothing imports", dependencyPage, m)
		}
		dir, ok := dirs[m]
		if !ok {
			continue // a tool
		}
		if found, err := licenceOf(dir); err != nil || !strings.HasPrefix(rows[m], found) {
			t.Errorf("%s says %q of %s, its licence file says %q (%v)", dependencyPage, rows[m], m, found, err)
		}
	}
}

func TestDependencyPageNotices(t *testing.T) {
	for name, page := range map[string]string{
		"three cells": "| `m` | why | MIT |",
		"no reason":   "| `m` |  | MIT | who |",
		"two modules": "| `m`, `n` | why | MIT | who |",
	} {
		if rows, err := dependencyRows(page); err == nil {
			t.Errorf("%s: accepted as %v", name, rows)
		}
	}
	required := []string{"example.org/a", "example.org/a/b", "example.org/ab"}
	for importPath, want := range map[string]string{
		"example.org/a/x":        "example.org/a",
		"example.org/a/b":        "example.org/a/b",
		"example.org/a/b/c":      "example.org/a/b",
		"example.org/ab/c":       "example.org/ab",
		"example.org/abc":        "",
		path.Join("net", "http"): "",
	} {
		if got := owner(required, importPath); got != want {
			t.Errorf("%s belongs to %q, not %q", importPath, got, want)
		}
	}
}
