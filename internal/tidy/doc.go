// SPDX-License-Identifier: Apache-2.0

// Package tidy keeps the tree in shape. It holds tests only: nothing imports it and nothing of it is linked.
//
// # What it checks
//
//	package map   docs/ARCHITECTURE.md lists every package with what it may import of our own code, between the
//	              markers `package-map:begin` and `package-map:end`. A package that is missing there, a row without a
//	              package, or an import that has no row fails. The arrows have no cycle, and proxy, storenode and
//	              controller never import each other.
//	ratchets      sizes (file, function, parameters, interface), documentation (doc.go, exported names), calls that have
//	              a better replacement, licence headers, package names, words that mark unfinished work.
//	modules       every direct requirement of go.mod has its row in docs/DEPENDENCIES.md and the other way round; every
//	              module that the binary links has a licence that we accept.
//
// # How ratchets work
//
// A rule looks at one parsed file and returns findings. A finding has a rule, a place without line numbers (so that it
// survives edits), a size where the rule measures something, and a hint that names the replacement.
//
//	testdata/ratchets.txt:   RULE PLACE SIZE
//
// lists the findings that are tolerated today. It may only shrink: a finding that is not in the list or that grew beyond
// its size fails, and so does an entry whose finding has shrunk or gone, until the entry is lowered or removed
// (`go test ./internal/tidy -shrink` does that; nothing adds entries but an editor and a reviewer).
//
// Arrows and rules for libraries hold for files that are not tests; tests may import whatever serves them, except that
// role trees stay apart in tests as well.
//
// Each rule is itself tested on a snippet that breaks it and on one that does not, so none of them can fall silent.
package tidy
