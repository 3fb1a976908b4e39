// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// scope says which files a ban holds for.
type scope int

const (
	// everywhere holds for tests, libraries and commands.
	everywhere scope = iota
	// outsideMain holds for libraries: files that are neither tests nor of a command.
	outsideMain
	// realTime holds for everything but tests that run in testing/synctest, where waiting costs nothing and is exact.
	realTime
)

// ban is a function of another package that has a better replacement.
type ban struct {
	importPath string
	// function is the name, or a prefix that ends with `*`.
	function string
	scope    scope
	instead  string
}

var bans = []ban{
	{"time", "Sleep", realTime, "in tests testing/synctest or a channel; in code a timer beside ctx.Done()"},
	{"time", "Tick", everywhere, "time.NewTicker, stopped when done"},
	{"context", "Background", outsideMain, "take ctx as the first parameter; context.WithoutCancel where work must outlive it"},
	{"context", "TODO", everywhere, "take ctx as the first parameter"},
	{"fmt", "Print*", outsideMain, "return an error, count, or log to the slog.Logger that was passed in"},
	{"log", "*", everywhere, "log/slog, with a logger that was passed in"},
	{"log/slog", "Default", outsideMain, "a logger that was passed in"},
	{"log/slog", "Debug*", outsideMain, "the same method of a logger that was passed in"},
	{"log/slog", "Info*", outsideMain, "the same method of a logger that was passed in"},
	{"log/slog", "Warn*", outsideMain, "the same method of a logger that was passed in"},
	{"log/slog", "Error*", outsideMain, "the same method of a logger that was passed in"},
	{"os", "Exit", outsideMain, "return an error; only main ends the process"},
	{"math/rand", "*", everywhere, "math/rand/v2"},
	{"io/ioutil", "*", everywhere, "io and os"},
}

func (b ban) matches(importPath, function string) bool {
	if b.importPath != importPath {
		return false
	}
	prefix, open := strings.CutSuffix(b.function, "*")
	return function == b.function || open && strings.HasPrefix(function, prefix)
}

func (b ban) holds(s *source) bool {
	switch b.scope {
	case everywhere:
		return true
	case outsideMain:
		return !s.test && !s.main()
	default:
		_, bubble := s.imports()["synctest"]
		return !s.test || !bubble
	}
}

func bannedCalls(s *source) []finding {
	var found []finding
	eachUse(s, s.file, func(importPath, function string) {
		for _, b := range bans {
			if b.matches(importPath, function) && b.holds(s) {
				found = append(found, finding{"banned-call", s.path + ":" + path.Base(importPath) + "." + function, 1, b.instead})
			}
		}
	})
	return found
}

// clocks are the packages that may read the clock of the machine, each with its reason. Everybody else is given a time, or
// a clock as a function, so that log time has one source. Where only deadlines and durations of the network are meant, a
// test has testing/synctest.
var clocks = map[string]string{
	"cmd/mansio":                  "progress and reports for humans",
	"internal/assembly":           "hands the clock to all others",
	"internal/bench":              "measures",
	"internal/rocketmq":           "deadlines and born times",
	"internal/rpc":                "deadlines",
	"internal/storewire":          "deadlines",
	"internal/telemetry":          "durations",
	"proxy":                       "deadlines",
	"proxy/fakestore":             "stands in for a store node in tests",
	"proxy/session":               "signs of life",
	"test/bench":                  "measures",
	"storenode/clock":             "the one clock of a store node",
	"internal/storewire/peertest": "tests",
}

func clockReads(s *source) []finding {
	if _, ok := clocks[s.dir()]; ok || s.test {
		return nil
	}
	var found []finding
	eachUse(s, s.file, func(importPath, function string) {
		if importPath == "time" && slices.Contains([]string{"Now", "Since", "Until"}, function) {
			found = append(found, finding{"clock", s.path + ":time." + function, 1, "take the time or a clock as a parameter"})
		}
	})
	return found
}

// waitsInLoops finds time.After in loops: each turn would leave a timer behind until it fires.
func waitsInLoops(s *source) []finding {
	var found []finding
	seen := make(map[ast.Node]bool)
	ast.Inspect(s.file, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch loop := n.(type) {
		case *ast.ForStmt:
			body = loop.Body
		case *ast.RangeStmt:
			body = loop.Body
		default:
			return true
		}
		if seen[body] {
			return true
		}
		ast.Inspect(body, func(inner ast.Node) bool {
			if b, ok := inner.(*ast.BlockStmt); ok {
				seen[b] = true // an inner loop is part of the outer one
			}
			return true
		})
		eachUse(s, body, func(importPath, function string) {
			if importPath == "time" && function == "After" {
				found = append(found, finding{"timer-in-loop", s.path + ":time.After", 1, "one time.Timer before the loop, reset in it"})
			}
		})
		return true
	})
	return found
}

// skippedTests finds tests that take themselves out: what cannot run everywhere gets a build tag and a target of its own.
func skippedTests(s *source) []finding {
	if !s.test {
		return nil
	}
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			if id, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, id.Name) {
				found = append(found, finding{"skipped-test", s.path, 1, "make it run, or give it a build tag and a make target"})
			}
		}
		return true
	})
	return found
}

// eachUse calls visit for each name of another package that is used below node.
func eachUse(s *source, node ast.Node, visit func(importPath, name string)) {
	imports := s.imports()
	ast.Inspect(node, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok {
			if importPath, ok := imports[id.Name]; ok {
				visit(importPath, sel.Sel.Name)
			}
		}
		return true
	})
}
