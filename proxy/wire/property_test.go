// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

func TestUserProperty(t *testing.T) {
	first, err := proto.Marshal(&pb.Message{UserProperties: map[string]string{"k": "v", "other": "x"}, Body: []byte("b")})
	if err != nil {
		t.Fatal(err)
	}
	last, err := proto.Marshal(&pb.Message{UserProperties: map[string]string{"k": "w"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		message []byte
		want    string
	}{{first, "v"}, {append(first, last...), "w"}, {nil, ""}, {last[:len(last)-1], ""}} {
		if got := UserProperty(tc.message, "k"); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
	if got := UserProperty(first, "absent"); got != "" {
		t.Errorf("a property that is not there is %q", got)
	}
}
