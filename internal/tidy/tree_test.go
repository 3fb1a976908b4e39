// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// modulePath is the main module's path; imports below it are our own code.
const modulePath = "github.com/mansiomq/mansio"

// root is the top of the repository, seen from this package's folder, where tests run.
const root = "../.."

// source is one parsed Go file.
type source struct {
	// path is relative to the top of the repository, with slashes.
	path      string
	text      string
	fset      *token.FileSet
	file      *ast.File
	test      bool
	generated bool
}

// dir returns the folder of the file, which is the package's place within the module.
func (s *source) dir() string { return path.Dir(s.path) }

// main reports whether the file belongs to a command.
func (s *source) main() bool { return s.file.Name.Name == "main" }

// line returns the line of a position.
func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

// imports returns the import paths of the file by the names that they have in it.
func (s *source) imports() map[string]string {
	names := make(map[string]string)
	for _, spec := range s.file.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser accepted it, so this cannot be
		}
		name := path.Base(importPath)
		if rest, ok := strings.CutPrefix(name, "v"); ok && isNumber(rest) {
			name = path.Base(path.Dir(importPath))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = importPath
	}
	return names
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// parseSource parses text as the file at path.
func parseSource(place, text string) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, place, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", place, err)
	}
	return &source{
		path:      place,
		text:      text,
		fset:      fset,
		file:      file,
		test:      strings.HasSuffix(place, "_test.go"),
		generated: ast.IsGenerated(file),
	}, nil
}

// tree returns all Go files of the main module, sorted by path. Each is parsed once for all tests.
func tree(t *testing.T) []*source {
	t.Helper()
	sources, err := parseTree()
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

var parseTree = sync.OnceValues(func() ([]*source, error) {
	var sources []*source
	err := walk(func(place string) error {
		if path.Ext(place) != ".go" {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(place)))
		if err != nil {
			return err
		}
		s, err := parseSource(place, string(text))
		if err != nil {
			return err
		}
		sources = append(sources, s)
		return nil
	})
	slices.SortFunc(sources, func(a, b *source) int { return strings.Compare(a.path, b.path) })
	return sources, err
})

// walk calls visit with each file that belongs to the main module: hidden folders, folders of test data, what builds
// and package managers leave, and folders with a go.mod of their own are left out.
func walk(visit func(place string) error) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		place, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		place = filepath.ToSlash(place)
		if !entry.IsDir() {
			return visit(place)
		}
		if place == "." {
			return nil
		}
		base := path.Base(place)
		if strings.HasPrefix(base, ".") || slices.Contains([]string{"testdata", "bin", "data", "node_modules", "target"}, base) {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(name, "go.mod")); !errors.Is(err, fs.ErrNotExist) {
			return fs.SkipDir
		}
		return nil
	})
}
