// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"strings"
	"testing"
)

// TestStoreNodeSaysWhereItIs: a node that listens on every address would join under one that means another machine to
// everybody else.
func TestStoreNodeSaysWhereItIs(t *testing.T) {
	for _, c := range []struct {
		listen, advertise string
		refused           bool
	}{
		{"0.0.0.0:8082", "", true},
		{"[::]:8082", "", true},
		{":8082", "", true},
		{"0.0.0.0:8082", "node1:8082", false},
		{"127.0.0.1:8082", "", false},
		{"node1:8082", "", false},
		{"", "", false}, // standalone
	} {
		err := (&StoreNode{Listen: c.listen, Advertise: c.advertise}).checkAdvertise()
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "give --advertise") {
			t.Errorf("--listen %q --advertise %q: %v", c.listen, c.advertise, err)
		}
	}
}
