// Protogen turns schemas/plugin/v1/connector.proto into plugin/pluginpb.
//
// It needs no protoc: the file is compiled here, and the two generators are
// the tools that go.mod of this module pins. The module is one of its own, so
// that nothing of this enters the product's dependencies. The output depends on
// the .proto and on those versions alone, therefore
//
//	go generate ./plugin/... && git diff --exit-code
//
// proves that the generated code is fresh.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// Paths are relative to the repository's root.
const (
	protoRoot  = "schemas"
	protoFile  = "plugin/v1/connector.proto"
	importPath = "github.com/countersign/countersign"
)

// generators are the names by which go tool finds them, in the order in which
// they run, with their parameters.
var generators = []struct{ tool, parameter string }{
	{"protoc-gen-go", "module=" + importPath},
	{"protoc-gen-go-grpc", "module=" + importPath + ",require_unimplemented_servers=false"},
}

func main() {
	// go run -C and go generate both leave us in this module's folder.
	root := filepath.Join("..", "..")
	if err := run(context.Background(), root); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string) error {
	files, err := generate(ctx, root)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the generated files by their path below root.
func generate(ctx context.Context, root string) (map[string][]byte, error) {
	request, err := compile(ctx, filepath.Join(root, protoRoot))
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, g := range generators {
		request.Parameter = proto.String(g.parameter)
		response, err := call(ctx, g.tool, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.tool, err)
		}
		for _, f := range response.GetFile() {
			files[f.GetName()] = []byte(f.GetContent())
		}
	}
	return files, nil
}

// compile parses the .proto with its comments and lists it after its imports,
// as generators require.
func compile(ctx context.Context, dir string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, protoFile)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{protoFile}}
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, descriptor(f))
	}
	for _, f := range compiled {
		add(f)
	}
	return request, nil
}

func descriptor(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	return protoutil.ProtoFromFileDescriptor(f)
}

// call runs one generator: a request on its stdin, a response on its stdout.
func call(ctx context.Context, tool string, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	response := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response, nil
}
