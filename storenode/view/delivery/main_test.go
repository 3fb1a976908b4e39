// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes runs of the model test long enough for leases to be exhausted
// and filters to meet; flags on the command line overrule it.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.steps", "150") // known to rapid, which the tests import
	_ = flag.Set("rapid.checks", "60")
	_ = flag.Set("rapid.nofailfile", "true")
	flag.Parse()
	os.Exit(m.Run())
}
