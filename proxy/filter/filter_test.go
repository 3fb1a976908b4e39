// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

func tag(text string) *pb.FilterExpression {
	return &pb.FilterExpression{Type: pb.FilterType_TAG, Expression: text}
}

func many(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%04d", i)
	}
	return strings.Join(tags, "||")
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   *pb.FilterExpression
		want []string // nil: everything
	}{
		{nil, nil},
		{&pb.FilterExpression{}, nil},
		{&pb.FilterExpression{Expression: "a"}, []string{"a"}},
		{tag(""), nil},
		{tag("*"), nil},
		{tag("  * "), nil},
		{tag("a"), []string{"a"}},
		{tag("b || a"), []string{"a", "b"}},
		{tag(" b||  c ||"), []string{"b", "c"}},
		{tag("a||a|| a"), []string{"a"}},
		{tag("A||a"), []string{"A", "a"}},
		{tag("with blank || ü"), []string{"with blank", "ü"}},
		{tag("*||a"), []string{"*", "a"}},
		{tag(many(TagsMax)), strings.Split(many(TagsMax), "||")},
	} {
		got, err := Parse(tc.in)
		if err != nil {
			t.Errorf("%v: %v", tc.in, err)
			continue
		}
		want := storeapi.Filter{Kind: storeapi.FilterTags, Tags: tc.want}
		if tc.want == nil {
			want.Kind = storeapi.FilterAll
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.in, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   *pb.FilterExpression
		want fault.Kind
	}{
		{"separators only", tag("||"), fault.Invalid},
		{"blank separators", tag(" || || "), fault.Invalid},
		{"too long", tag(strings.Repeat("a", BytesMax+1)), fault.Invalid},
		{"too many tags", tag(many(TagsMax + 1)), fault.Invalid},
		{"unknown type", &pb.FilterExpression{Type: 9, Expression: "a"}, fault.Invalid},
		{"SQL", &pb.FilterExpression{Type: pb.FilterType_SQL, Expression: "a = 1"}, fault.Unsupported},
	} {
		if _, err := Parse(tc.in); !fault.Is(err, tc.want) {
			t.Errorf("%s: %v, want kind %v", tc.name, err, tc.want)
		}
	}
}

func TestKey(t *testing.T) {
	key := func(text string) string {
		f, err := Parse(tag(text))
		if err != nil {
			t.Fatal(err)
		}
		return Key(f)
	}
	if key("a||b") != key(" b || a||a") {
		t.Error("equal filters have different keys")
	}
	if key("*") != key("") || key("*") == key("a") {
		t.Error("everything has no key of its own")
	}
}

// FuzzParse: an accepted expression yields sorted, unique, non-empty tags, and
// the canonical way to write them yields them again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "*", "a", "a || b", "||", " || a||", "a|b", "*||*", " |0|||"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(tag(text))
		if err != nil || got.Kind == storeapi.FilterAll {
			return
		}
		if !slices.IsSorted(got.Tags) || len(slices.Compact(slices.Clone(got.Tags))) != len(got.Tags) || slices.Contains(got.Tags, "") {
			t.Fatalf("%q gave %q", text, got.Tags)
		}
		if strings.Contains(text, "|||") {
			return // a bar beside a separator is read differently when the tags change places
		}
		again, err := Parse(tag(" || " + strings.Join(got.Tags, " || ")))
		if err != nil || Key(again) != Key(got) {
			t.Fatalf("%q: %q read back as %q, %v", text, got.Tags, again.Tags, err)
		}
	})
}
