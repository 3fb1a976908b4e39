// SPDX-License-Identifier: Apache-2.0

// Package server starts mansio processes for tests, waits until they are ready, and stops them.
//
// Ports are picked by asking the kernel for a free one and giving it back, so a process can be restarted on the same
// address. Everything a process prints goes to a file beside its data folder; a failed start quotes the end of it.
package server
