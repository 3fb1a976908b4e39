// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

// extras are the parts of our protocol that the official Go module does not have (yet).
var extras = []string{
	"apache.rocketmq.v2.Code.INVALID_CLIENT_PROPERTIES = 40021",
	"apache.rocketmq.v2.Settings.ClientPropertiesEntry",
	"apache.rocketmq.v2.Settings.ClientPropertiesEntry.key = 1: optional string",
	"apache.rocketmq.v2.Settings.ClientPropertiesEntry.value = 2: optional string",
	"apache.rocketmq.v2.Settings.client_properties = 9: repeated message apache.rocketmq.v2.Settings.ClientPropertiesEntry",
}

// TestDescriptors compares our protocol files, as proto/baseline.binpb holds them, with the official Go module's
// descriptors: names, numbers, types, labels, presence, enum values, methods and their streaming. File options and
// comments may differ.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	official := map[string]bool{}
	for _, file := range []protoreflect.FileDescriptor{
		v2.File_apache_rocketmq_v2_definition_proto, v2.File_apache_rocketmq_v2_service_proto,
		v2.File_apache_rocketmq_v2_admin_proto,
	} {
		facts(file, official)
	}
	if len(official) < 400 {
		t.Fatalf("only %d facts in the official module: the test looks at nothing", len(official))
	}
	ours := map[string]bool{}
	for _, file := range ourFiles(t) {
		facts(file, ours)
	}
	var missing, more []string
	for fact := range official {
		if !ours[fact] {
			missing = append(missing, fact)
		}
	}
	for fact := range ours {
		if !official[fact] {
			more = append(more, fact)
		}
	}
	slices.Sort(missing)
	slices.Sort(more)
	if len(missing) > 0 {
		t.Errorf("official, but not ours:\n%s", cmp.Diff(nil, missing))
	}
	want := slices.Sorted(slices.Values(extras))
	if diff := cmp.Diff(want, more); diff != "" {
		t.Errorf("ours, but not official: not the committed list (-list +found):\n%s", diff)
	}
}

// ourFiles reads the public protocol out of proto/baseline.binpb without registering anything.
func ourFiles(t *testing.T) []protoreflect.FileDescriptor {
	t.Helper()
	root, err := server.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "proto", "baseline.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	resolver := &protoregistry.Files{}
	var found []protoreflect.FileDescriptor
	for _, file := range set.GetFile() {
		desc, err := protodesc.FileOptions{AllowUnresolvable: true}.New(file, withWellKnown{resolver})
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.RegisterFile(desc); err != nil {
			t.Fatal(err)
		}
		if desc.Package() == "apache.rocketmq.v2" {
			found = append(found, desc)
		}
	}
	if len(found) == 0 {
		t.Fatal("proto/baseline.binpb holds no file of package apache.rocketmq.v2")
	}
	return found
}

// withWellKnown resolves google.protobuf files that a descriptor set leaves out.
type withWellKnown struct{ *protoregistry.Files }

func (r withWellKnown) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if fd, err := r.Files.FindFileByPath(path); err == nil {
		return fd, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (r withWellKnown) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := r.Files.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// facts adds one line per message, field, enum value and method of file.
func facts(file protoreflect.FileDescriptor, into map[string]bool) {
	messages(file.Messages(), into)
	enums(file.Enums(), into)
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			into[fmt.Sprintf("%s(%s, stream %v) %s, stream %v", m.FullName(), m.Input().FullName(),
				m.IsStreamingClient(), m.Output().FullName(), m.IsStreamingServer())] = true
		}
	}
}

func messages(list protoreflect.MessageDescriptors, into map[string]bool) {
	for i := range list.Len() {
		m := list.Get(i)
		into[string(m.FullName())] = true
		for j := range m.Fields().Len() {
			into[field(m.Fields().Get(j))] = true
		}
		messages(m.Messages(), into)
		enums(m.Enums(), into)
	}
}

func field(f protoreflect.FieldDescriptor) string {
	text := fmt.Sprintf("%s = %d: %s %s", f.FullName(), f.Number(), f.Cardinality(), f.Kind())
	switch {
	case f.Message() != nil:
		text += " " + string(f.Message().FullName())
	case f.Enum() != nil:
		text += " " + string(f.Enum().FullName())
	}
	if f.HasPresence() && f.Message() == nil {
		text += ", presence"
	}
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		text += ", oneof " + string(o.Name())
	}
	return text
}

func enums(list protoreflect.EnumDescriptors, into map[string]bool) {
	for i := range list.Len() {
		e := list.Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			into[fmt.Sprintf("%s.%s = %d", e.FullName(), v.Name(), v.Number())] = true
		}
	}
}
