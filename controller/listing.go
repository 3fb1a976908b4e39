// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/base64"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// pageDefault and pageMax bound the objects of one page.
	pageDefault = 100
	pageMax     = 1000
	// pageBytesMax bounds its bytes: topics may have thousands of queues.
	pageBytesMax = 256 << 10
)

// ListTopics implements controlv1.AdminServer.
func (s *adminService) ListTopics(ctx context.Context, request *controlv1.ListTopicsRequest) (*controlv1.ListTopicsResponse, error) {
	response := &controlv1.ListTopicsResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) error {
		response.Topics = nil
		p := page{key: r.book.Keys.Topic, prefix: request.GetPrefix(), size: request.GetPageSize(), token: request.GetPageToken()}
		next, err := r.list(ctx, p, func(entry metastore.Entry) error {
			topic := &controlv1.Topic{}
			response.Topics = append(response.Topics, topic)
			return metastore.Decode(entry, topic)
		})
		response.NextPageToken = next
		return err
	})
	return response, err
}

// ListGroups implements controlv1.AdminServer.
func (s *adminService) ListGroups(ctx context.Context, request *controlv1.ListGroupsRequest) (*controlv1.ListGroupsResponse, error) {
	response := &controlv1.ListGroupsResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) error {
		response.Groups = nil
		p := page{key: r.book.Keys.Group, prefix: request.GetPrefix(), size: request.GetPageSize(), token: request.GetPageToken()}
		next, err := r.list(ctx, p, func(entry metastore.Entry) error {
			group := &controlv1.Group{}
			response.Groups = append(response.Groups, group)
			return metastore.Decode(entry, group)
		})
		response.NextPageToken = next
		return err
	})
	return response, err
}

// page is what a list call asks for: names that begin with prefix, behind the one
// in the token.
type page struct {
	key    func(name string) string
	prefix string
	size   uint32
	token  string
}

// list reads one page in order of names and returns the token of the next, ""
// behind the last one.
func (r *reign) list(ctx context.Context, p page, take func(metastore.Entry) error) (next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(p.token)
	if err != nil {
		return "", fault.Errorf("list", fault.Invalid, "the page token is not one that this call gave out")
	}
	size := int(p.size)
	if size == 0 {
		size = pageDefault
	}
	request := metastore.ListRequest{Prefix: p.key(p.prefix), Limit: min(size, pageMax)}
	if len(after) > 0 {
		request.After = p.key(string(after))
	}
	listing, err := r.book.Store().List(ctx, request)
	if err != nil {
		return "", err
	}
	bytes := 0
	for i, entry := range listing.Entries {
		if err := take(entry); err != nil {
			return "", err
		}
		bytes += len(entry.Value)
		last := i == len(listing.Entries)-1
		if bytes >= pageBytesMax && !last || last && listing.More {
			_, name := r.book.Keys.Split(entry.Key)
			return base64.RawURLEncoding.EncodeToString([]byte(name)), nil
		}
	}
	return "", nil
}
