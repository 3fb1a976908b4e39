// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"os"
	"testing"
)

// TestWatcherNames: of two processes with one role it must be clear which is meant.
func TestWatcherNames(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Config{
		"mansio storenode n1":             {Name: "mansio storenode", StoreNode: &StoreNode{Node: "n1"}},
		"mansio standalone n1":            {Name: "mansio standalone", StoreNode: &StoreNode{Node: "n1"}, Proxy: &Proxy{Advertise: "a:1"}},
		"mansio proxy a:1":                {Name: "mansio proxy", Proxy: &Proxy{Listen: ":8081", Advertise: "a:1"}},
		"mansio proxy " + host + " :8081": {Name: "mansio proxy", Proxy: &Proxy{Listen: ":8081"}},
		"mansio controller":               {Name: "mansio controller", Controller: &Controller{}},
	} {
		if got := c.watcher(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
