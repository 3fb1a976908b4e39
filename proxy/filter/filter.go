// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

const (
	// BytesMax bounds an expression: it is kept for every subscription and
	// travels with every sign of life.
	BytesMax = 16 << 10
	// TagsMax bounds the tags of an expression: a shard tries them all on a
	// message whose hash matches.
	TagsMax = 1024

	separator = "||"
)

// Parse reads an expression; nil is everything. Errors are of kind Invalid for
// an expression that nobody could evaluate, and Unsupported for a language that
// this server does not speak.
func Parse(e *pb.FilterExpression) (storeapi.Filter, error) {
	const op = "filter.Parse"
	switch e.GetType() {
	case pb.FilterType_FILTER_TYPE_UNSPECIFIED, pb.FilterType_TAG:
	case pb.FilterType_SQL:
		return storeapi.Filter{}, fault.Errorf(op, fault.Unsupported, "SQL filters are not built; use tags")
	default:
		return storeapi.Filter{}, fault.Errorf(op, fault.Invalid, "filter type %d is unknown", e.GetType())
	}
	text := strings.TrimSpace(e.GetExpression())
	if text == "" || text == "*" {
		return storeapi.Filter{Kind: storeapi.FilterAll}, nil
	}
	if len(text) > BytesMax {
		return storeapi.Filter{}, fault.Errorf(op, fault.Invalid, "the expression has %d bytes, at most %d are allowed", len(text), BytesMax)
	}
	tags := make([]string, 0, 1+strings.Count(text, separator))
	for part := range strings.SplitSeq(text, separator) {
		if tag := strings.TrimSpace(part); tag != "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	switch {
	case len(tags) == 0:
		return storeapi.Filter{}, fault.Errorf(op, fault.Invalid, "the expression %q names no tag", text)
	case len(tags) > TagsMax:
		return storeapi.Filter{}, fault.Errorf(op, fault.Invalid, "the expression names %d tags, at most %d are allowed", len(tags), TagsMax)
	}
	kept := 0
	for _, tag := range tags {
		kept += len(tag)
	}
	if len(text) > 2*kept+len(separator)*len(tags) { // tags must not keep what stands around them in memory
		for i := range tags {
			tags[i] = strings.Clone(tags[i])
		}
	}
	return storeapi.Filter{Kind: storeapi.FilterTags, Tags: slices.Clip(tags)}, nil
}

// Key is a text that two filters share exactly if they are the same filter. It
// is for maps, not for people.
func Key(f storeapi.Filter) string {
	if f.Kind == storeapi.FilterAll {
		return ""
	}
	var key []byte
	for _, tag := range f.Tags {
		key = binary.AppendUvarint(key, uint64(len(tag)))
		key = append(key, tag...)
	}
	return string(key)
}
