// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strconv"
	"strings"
	"time"
)

func parseDuration(text string) error {
	_, err := time.ParseDuration(text)
	return err
}

// bytes reads a size such as 268435456, 256MiB or 1GB; K, M, G and T are powers
// of 1024 whichever way they are written. Empty is 0.
func (s *settings) bytes(key string) (int64, error) {
	n, ok := parseBytes(s.k.String(key))
	if !ok {
		return 0, usagef("--%s %q is not a size: write bytes, or a number with KiB, MiB, GiB or TiB", key, s.k.String(key))
	}
	return n, nil
}

func parseBytes(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, true
	}
	number := strings.TrimRight(text, "KMGTiBkmgtb ")
	unit := strings.ToUpper(strings.TrimSpace(text[len(number):]))
	shift := 0
	switch unit {
	case "", "B":
	case "K", "KB", "KIB":
		shift = 10
	case "M", "MB", "MIB":
		shift = 20
	case "G", "GB", "GIB":
		shift = 30
	case "T", "TB", "TIB":
		shift = 40
	default:
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	if scaled := math.Ldexp(n, shift); err == nil && scaled >= 0 && scaled < math.MaxInt64 {
		return int64(scaled), true
	}
	return 0, false
}

// list reads a list: separated by commas, or a list of the file.
func (s *settings) list(key string) (out []string) {
	words := s.k.Strings(key)
	if len(words) == 0 {
		words = []string{strings.Trim(s.k.String(key), "[]")} // a list that nobody set shows itself as "[]"
	}
	for _, w := range words {
		for part := range strings.SplitSeq(w, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
