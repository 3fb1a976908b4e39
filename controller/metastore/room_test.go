// SPDX-License-Identifier: Apache-2.0

package metastore

import (
	"testing"

	"github.com/mansiomq/mansio/internal/fault"
)

// A commit asks for room first, and says whether it makes entries.
func TestGuarded(t *testing.T) {
	for name, c := range map[string]struct {
		txn     Txn
		creates bool
	}{
		"a new entry":             {Txn{Conds: []Cond{{"a", 0}}, Puts: []Put{{Key: "a"}}}, true},
		"perhaps a new entry":     {Txn{Puts: []Put{{Key: "a"}}}, true},
		"a new one beside others": {Txn{Conds: []Cond{{"a", 0}, {"ids", 7}}, Puts: []Put{{Key: "ids"}, {Key: "a"}}}, true},
		"a change":                {Txn{Conds: []Cond{{"a", 7}, {"b", 0}}, Puts: []Put{{Key: "a"}}}, false},
		"a deletion":              {Txn{Conds: []Cond{{"a", 7}}, Deletes: []string{"a"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			store := NewGuarded(nil, func(creates bool) error { // without a client nothing else can be called
				asked = true
				if creates != c.creates {
					t.Errorf("creates %v", creates)
				}
				return fault.Errorf("", fault.DiskFull, "full")
			})
			if _, err := store.Commit(t.Context(), c.txn); !fault.Is(err, fault.DiskFull) || !asked {
				t.Errorf("%v, asked %v", err, asked)
			}
		})
	}
}
