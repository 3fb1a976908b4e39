// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
)

// enumValue finds the value of an enum by the word that people type for it. A
// wrong word is answered with those that there are.
func enumValue(flag, given, prefix string, values map[string]int32) (int32, error) {
	name := prefix + strings.ToUpper(strings.ReplaceAll(given, "-", "_"))
	if v, ok := values[name]; ok && v != 0 {
		return v, nil
	}
	return 0, usagef("%s %q: one of %s", flag, given, strings.Join(enumWords(prefix, values), ", "))
}

// enumWords are the words that people type for the values of an enum.
func enumWords(prefix string, values map[string]int32) (words []string) {
	for name, v := range values {
		if v != 0 {
			words = append(words, strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", "-"))
		}
	}
	slices.Sort(words)
	return words
}

// count reads a number from 1 to most.
func (s *settings) count(key string, most int) (uint32, error) {
	n := s.k.Int(key)
	if n < 1 || n > most {
		return 0, usagef("--%s %s: a number from 1 to %d", key, s.k.String(key), most)
	}
	return uint32(n), nil //nolint:gosec // checked
}
