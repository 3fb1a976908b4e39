// SPDX-License-Identifier: Apache-2.0

// Package filter reads the filter expressions of consumers.
//
// A TAG expression is `*` or nothing, which is everything, or tags joined by
// `||`: a message matches if its one tag equals any of them. Blanks around a
// tag and empty parts do not count; an expression of nothing but separators is
// refused. An expression without a type is a TAG expression.
//
// The result is canonical (tags sorted, each once): equal filters are equal
// values with equal keys, however they were written.
package filter
