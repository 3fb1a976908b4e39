// SPDX-License-Identifier: Apache-2.0

//go:build race

package commitlog

// thin is by how much tests that try many cases try fewer: the race detector
// makes each ten times slower, and looks for something else.
const thin = 11
