// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestText(t *testing.T) {
	sql := Errorf("filter.Parse", Unsupported, "SQL filters are not built")
	for want, err := range map[string]error{
		"":                          nil,
		"plain":                     errors.New("plain"),
		"SQL filters are not built": sql,
		"unsupported":               E("filter.Parse", Unsupported, nil),
		"topic name: it is empty":   Errorf("topic name", Invalid, "it is empty"),
		"start: SQL filters are not built\nSQL filters are not built": errors.Join(
			fmt.Errorf("start: %w", E("controller.New", Other, sql)), E("", Other, E("view/queue.Open", Other, sql))),
	} {
		if got := Text(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
