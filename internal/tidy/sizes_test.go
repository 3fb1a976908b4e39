// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"fmt"
	"go/ast"
	"strings"
)

// Budgets of size. They are where to stop, not where to go: aim at a file of 150 lines and a function of 20.
const (
	fileLines     = 800
	testFileLines = 1500
	functionLines = 70
	// A table test is mostly its table.
	testFunctionLines = 120
	parameterCount    = 5
	interfaceSize     = 12
)

func fileLength(s *source) []finding {
	limit := fileLines
	if s.test {
		limit = testFileLines
	}
	if n := strings.Count(s.text, "\n"); n > limit {
		return []finding{{"file-length", s.path, n, fmt.Sprintf("split it: at most %d lines", limit)}}
	}
	return nil
}

func functionLength(s *source) []finding {
	limit := functionLines
	if s.test {
		limit = testFunctionLines
	}
	var found []finding
	for _, fn := range functions(s) {
		if n := s.line(fn.End()) - s.line(fn.Pos()) + 1; n > limit {
			found = append(found, finding{"function-length", place(s, fn), n, fmt.Sprintf("split it: at most %d lines", limit)})
		}
	}
	return found
}

func parameters(s *source) []finding {
	var found []finding
	for _, fn := range functions(s) {
		if n := fn.Type.Params.NumFields(); n > parameterCount {
			found = append(found, finding{"parameters", place(s, fn), n, fmt.Sprintf("at most %d, else a struct of options", parameterCount)})
		}
	}
	return found
}

func interfaceMethods(s *source) []finding {
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > interfaceSize {
			found = append(found, finding{
				"interface-methods", s.path + ":" + spec.Name.Name, i.Methods.NumFields(),
				fmt.Sprintf("at most %d methods; 1 to 5 are an abstraction", interfaceSize),
			})
		}
		return true
	})
	return found
}

// functions returns the declared functions and methods of a file.
func functions(s *source) []*ast.FuncDecl {
	var fns []*ast.FuncDecl
	for _, decl := range s.file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			fns = append(fns, fn)
		}
	}
	return fns
}

// place names a function: file:Func or file:Type.Method.
func place(s *source, fn *ast.FuncDecl) string {
	if recv := receiver(fn); recv != "" {
		return s.path + ":" + recv + "." + fn.Name.Name
	}
	return s.path + ":" + fn.Name.Name
}

// receiver returns the name of the receiver's type, or "".
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	expr := fn.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}
