// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// licenceLine is the first line of every Go file that people write.
const licenceLine = "// SPDX-License-Identifier: Apache-2.0\n\n"

// vagueNames say nothing about what a package is.
var vagueNames = []string{"base", "common", "commons", "helper", "helpers", "misc", "shared", "types", "util", "utils"}

func licenceHeader(s *source) []finding {
	if strings.HasPrefix(s.text, licenceLine) {
		return nil
	}
	return []finding{{"licence-header", s.path, 1, "begin with " + strings.TrimSpace(licenceLine) + " and an empty line"}}
}

func packageNames(s *source) []finding {
	name := strings.TrimSuffix(s.file.Name.Name, "_test")
	if slices.Contains(vagueNames, name) || slices.Contains(vagueNames, path.Base(s.dir())) {
		return []finding{{"package-name", s.dir(), 1, "a package is one noun that says what it holds"}}
	}
	return nil
}

// packageDocs wants a doc.go with a package comment in every package that people write.
func packageDocs(sources []*source) []finding {
	documented := make(map[string]bool)
	for _, s := range sources {
		if s.generated {
			continue
		}
		doc := path.Base(s.path) == "doc.go" && s.file.Doc != nil
		documented[s.dir()] = documented[s.dir()] || doc
	}
	var found []finding
	for dir, ok := range documented {
		if !ok {
			found = append(found, finding{"package-doc", dir, 1, "add a doc.go that says what the package is and what it promises"})
		}
	}
	return found
}

// knownMethods are promised elsewhere: a comment could only repeat what errors, fmt, slog or grpc say of them.
var knownMethods = []string{"Error", "GRPCStatus", "Is", "LogValue", "String", "Unwrap"}

// exportedDocs wants a comment at each exported name of a library: one finding per name.
func exportedDocs(s *source) []finding {
	if s.test || s.main() {
		return nil
	}
	var found []finding
	missing := func(name string) {
		found = append(found, finding{"exported-doc", s.path + ":" + name, 1, "say what it promises: units, limits, errors, concurrency"})
	}
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			recv := receiver(d)
			if recv != "" && slices.Contains(knownMethods, d.Name.Name) {
				continue
			}
			if d.Doc == nil && d.Name.IsExported() && (recv == "" || ast.IsExported(recv)) {
				missing(strings.TrimPrefix(recv+"."+d.Name.Name, "."))
			}
		case *ast.GenDecl:
			for _, name := range undocumented(d) {
				missing(name)
			}
		}
	}
	return found
}

// undocumented returns the exported names of a declaration without a comment. For constants and variables the comment of
// their group counts too.
func undocumented(d *ast.GenDecl) []string {
	var names []string
	for _, spec := range d.Specs {
		switch sp := spec.(type) {
		case *ast.TypeSpec:
			alone := len(d.Specs) == 1 && d.Doc != nil
			if sp.Name.IsExported() && sp.Doc == nil && !alone {
				names = append(names, sp.Name.Name)
			}
		case *ast.ValueSpec:
			if sp.Doc != nil || sp.Comment != nil || d.Doc != nil || d.Tok == token.IMPORT {
				continue
			}
			for _, name := range sp.Names {
				if name.IsExported() {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

// unfinishedWords mark work that was left for later; the tracker is the place for that. They are spelled in halves, so
// that this file does not break its own rule.
var unfinishedWords = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}

func unfinishedWork(s *source) []finding {
	var found []finding
	for _, group := range s.file.Comments {
		for _, comment := range group.List {
			words := strings.FieldsFunc(comment.Text, func(r rune) bool {
				return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_'
			})
			for _, word := range words {
				if slices.Contains(unfinishedWords, word) {
					found = append(found, finding{"unfinished", s.path, 1, "finish it, or say what is not supported and answer it with an error"})
				}
			}
		}
	}
	return found
}
