// SPDX-License-Identifier: Apache-2.0

// Command mansio is the whole of Mansio in one binary: the roles (standalone,
// controller, storenode, proxy), the administrator's commands, and tools to try
// and to measure. `mansio help` lists them.
//
// A role's settings come from flags, MANSIO_* environment variables and a YAML
// file, in that order of strength (config.go). Commands print tables for people
// and JSON or YAML for programs; errors are one line, with exit code 1, or 2 when
// the command was used wrongly.
package main
