// SPDX-License-Identifier: Apache-2.0

// Package invariant crashes the process when something that must always hold
// does not: going on would turn a programming error into lost data.
//
// It is for what the program itself guarantees. Whatever comes from outside (a
// client, the network, a disk) is validated and answered with an error instead.
package invariant

import "fmt"

// Check panics when ok is false. The message is a format with its operands, so
// that the crash shows the values that broke the rule.
func Check(ok bool, format string, operands ...any) {
	if !ok {
		panic("broken invariant: " + fmt.Sprintf(format, operands...))
	}
}
