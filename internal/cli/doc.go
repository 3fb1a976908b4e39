// SPDX-License-Identifier: Apache-2.0

// Package cli is what the administrator's commands have in common: a connection
// to a server, answers as tables for people or JSON and YAML for programs,
// questions before what cannot be undone, progress, and errors of one line.
//
// # Connection
//
// A command calls one address (--server): a proxy, or a controller for what
// needs no shard. Calls fail fast: an address that nobody serves is an error at
// once, not after a deadline. Errors keep the kind of package fault.
//
// # Output
//
// The shapes of JSON and YAML are the structs of view.go: fields are added, never
// renamed. Times are RFC 3339 in UTC, durations Go's ("1m30s"), numbers that
// exceed 2^53 stay numbers. A table goes to people and may change.
package cli
