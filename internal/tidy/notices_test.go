// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// body returns n lines of code.
func body(n int) string { return strings.Repeat("\t_ = 1\n", n) }

const (
	clean   = licenceLine + "// Package p is here.\npackage p\n\n"
	command = licenceLine + "// Command p is here.\npackage main\n\n"
)

// TestRulesNotice feeds each rule a file that breaks it and its nearest relative that does not. A want of "" means that
// nothing may be found.
func TestRulesNotice(t *testing.T) {
	for _, c := range []struct{ name, place, text, want string }{
		{"clean", "p/doc.go", clean, ""},
		{"file of 800 lines", "p/doc.go", clean + strings.Repeat("//\n", 795), ""},
		{"file of 801 lines", "p/doc.go", clean + strings.Repeat("//\n", 796), "file-length p/doc.go"},
		{"test of 801 lines", "p/doc_test.go", clean + strings.Repeat("//\n", 796), "package-doc p"},
		{"function of 70 lines", "p/doc.go", clean + "func f() {\n" + body(68) + "}\n", ""},
		{"function of 71 lines", "p/doc.go", clean + "func f() {\n" + body(69) + "}\n", "function-length p/doc.go:f"},
		{"method of 71 lines", "p/doc.go", clean + "type t[T any] struct{}\nfunc (*t[T]) f() {\n" + body(69) + "}\n", "function-length p/doc.go:t.f"},
		{"five parameters", "p/doc.go", clean + "func f(a, b, c int, d, e string) {}\n", ""},
		{"six parameters", "p/doc.go", clean + "func f(a, b, c int, d, e string, g bool) {}\n", "parameters p/doc.go:f"},
		{"interface of 13", "p/doc.go", clean + "type i interface{a();b();c();d();e();f();g();h();i();j();k();l();m()}\n", "interface-methods p/doc.go:i"},
		{"interface of 12", "p/doc.go", clean + "type i interface{a();b();c();d();e();f();g();h();i();j();k();l()}\n", ""},
		{"no licence", "p/doc.go", "// Package p is here.\npackage p\n", "licence-header p/doc.go"},
		{"no doc.go", "p/p.go", clean, "package-doc p"},
		{"doc.go without comment", "p/doc.go", licenceLine + "package p\n", "package-doc p"},
		{"vague name", "util/doc.go", strings.ReplaceAll(clean, "package p", "package util"), "package-name util"},
		{"vague folder", "x/common/doc.go", clean, "package-name x/common"},
		{"bare function", "p/doc.go", clean + "func F() {}\n", "exported-doc p/doc.go:F"},
		{"documented function", "p/doc.go", clean + "// F is.\nfunc F() {}\n", ""},
		{"bare method", "p/doc.go", clean + "// T is.\ntype T struct{}\nfunc (t *T) F() {}\n", "exported-doc p/doc.go:T.F"},
		{"known method", "p/doc.go", clean + "// T is.\ntype T struct{}\nfunc (t *T) Error() string { return `` }\n", ""},
		{"known name alone", "p/doc.go", clean + "func Error() {}\n", "exported-doc p/doc.go:Error"},
		{"method of a private type", "p/doc.go", clean + "type t struct{}\nfunc (t) F() {}\n", ""},
		{"bare type", "p/doc.go", clean + "type T struct{}\n", "exported-doc p/doc.go:T"},
		{"bare constant", "p/doc.go", clean + "const C = 1\n", "exported-doc p/doc.go:C"},
		{"documented group", "p/doc.go", clean + "// Numbers.\nconst (\n\tC = 1\n\tD = 2\n)\n", ""},
		{"bare name of a command", "p/doc.go", command + "func F() {}\n", ""},
		{"unfinished", "p/doc.go", clean + "// TO" + "DO: more\nfunc f() {}\n", "unfinished p/doc.go"},
		{"a longer word", "p/doc.go", clean + "// TO" + "DOS is a name\nfunc f() {}\n", ""},
		{"sleep", "p/doc.go", clean + "import \"time\"\nfunc f() { time.Sleep(1) }\n", "banned-call p/doc.go:time.Sleep"},
		{"sleep under another name", "p/doc.go", clean + "import x \"time\"\nfunc f() { x.Sleep(1) }\n", "banned-call p/doc.go:time.Sleep"},
		{"sleep of another package", "p/doc.go", clean + "import \"x/time\"\nfunc f() { time.Sleep(1) }\n", ""},
		{"background", "p/doc.go", clean + "import \"context\"\nvar c = context.Background()\n", "banned-call p/doc.go:context.Background"},
		{"background of a command", "p/doc.go", command + "import \"context\"\nvar c = context.Background()\n", ""},
		{"print", "p/doc.go", clean + "import \"fmt\"\nfunc f() { fmt.Println() }\n", "banned-call p/doc.go:fmt.Println"},
		{"format", "p/doc.go", clean + "import \"fmt\"\nfunc f() { fmt.Fprintln(nil) }\n", ""},
		{"log", "p/doc.go", clean + "import \"log\"\nfunc f() { log.Printf(``) }\n", "banned-call p/doc.go:log.Printf"},
		{"own log", "p/doc.go", clean + "import log \"log/slog\"\nvar l log.Logger\n", ""},
		{"exit", "p/doc.go", clean + "import \"os\"\nfunc f() { os.Exit(1) }\n", "banned-call p/doc.go:os.Exit"},
		{"old random", "p/doc.go", clean + "import \"math/rand\"\nvar x = rand.Int()\n", "banned-call p/doc.go:rand.Int"},
		{"new random", "p/doc.go", clean + "import \"math/rand/v2\"\nvar x = rand.Int()\n", ""},
		{"clock", "p/doc.go", clean + "import \"time\"\nvar x = time.Now()\n", "clock p/doc.go:time.Now"},
		{"clock of a command", "cmd/mansio/doc.go", clean + "import \"time\"\nvar x = time.Now()\n", ""},
		{"after", "p/doc.go", clean + "import \"time\"\nfunc f() { <-time.After(1) }\n", ""},
		{"after in a loop", "p/doc.go", clean + "import \"time\"\nfunc f() { for { <-time.After(1) } }\n", "timer-in-loop p/doc.go:time.After"},
		{"after in a range", "p/doc.go", clean + "import \"time\"\nfunc f() { for range 2 { <-time.After(1) } }\n", "timer-in-loop p/doc.go:time.After"},
	} {
		t.Run(c.name, func(t *testing.T) { notices(t, c.place, c.text, c.want) })
	}
	for text, want := range map[string]int{
		"import \"time\"\nfunc f() { time.Sleep(1) }\n":                             1,
		"import (\n\"time\"\n\"testing/synctest\"\n)\nfunc f() { time.Sleep(1) }\n": 0,
	} {
		s, err := parseSource("p/p_test.go", clean+text)
		if err != nil {
			t.Fatal(err)
		}
		if got := bannedCalls(s); len(got) != want {
			t.Errorf("%s: got %v, want %d", text, got, want)
		}
	}
	t.Run("skip", func(t *testing.T) {
		s, err := parseSource("p/p_test.go", clean+"func f(t T) { t.Skip() }\n")
		if err != nil {
			t.Fatal(err)
		}
		if got := skippedTests(s); len(got) != 1 {
			t.Errorf("got %v, not one finding", got)
		}
	})
}

func notices(t *testing.T, place, text, want string) {
	t.Helper()
	s, err := parseSource(place, text)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(collect([]*source{s})))
	if want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []string{want}) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestGeneratedFilesAreFree: nobody writes them, so nobody can mend them.
func TestGeneratedFilesAreFree(t *testing.T) {
	s, err := parseSource("p/p.pb.go", "// Code generated by x. DO NOT EDIT.\n\npackage util\n\nfunc F() {}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := collect([]*source{s}); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

// TestFindingsAddUp: a second sleep in a file with one is new, though the place is the same.
func TestFindingsAddUp(t *testing.T) {
	s, err := parseSource("p/doc.go", clean+"import \"time\"\nfunc f() { time.Sleep(1); time.Sleep(2) }\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := collect([]*source{s})["banned-call p/doc.go:time.Sleep"].size; got != 2 {
		t.Errorf("counted %d, not 2", got)
	}
}
