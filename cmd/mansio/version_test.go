// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// A build says of which commit it is, or that it does not know.
func TestRevision(t *testing.T) {
	defer func(before string) { revision = before }(revision)
	for given, want := range map[string]string{
		"abc":            `"revision": "abc",`,
		"abc" + modified: `"modified": true`,
		"":               `"revision": "`,
	} {
		revision = given
		o := mansio(t, "version", "-o", "json")
		if o.failed != nil || !strings.Contains(o.out, want) || strings.Contains(o.out, `"revision": ""`) {
			t.Errorf("%q: %s %v", given, o.out, o.failed)
		}
	}
}
