package main

import (
	"context"

	"arpcbench/load"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// rawCodec sends the bytes that a *[]byte points to.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func init() { encoding.RegisterCodecV2(rawCodec{}) }

// echoService answers what it is sent; it is written as protoc writes services, which knows none without messages.
var echoService = grpc.ServiceDesc{
	ServiceName: "Echo",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: answerEcho}},
}

func answerEcho(server any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	body := new([]byte)
	if err := decode(body); err != nil {
		return nil, err
	}
	server.(load.Setup).Sleep()
	return body, nil
}

var echoOptions = []grpc.CallOption{grpc.StaticMethod(), grpc.CallContentSubtype("raw")}

func echo(ctx context.Context, c *grpc.ClientConn, body []byte) (answer []byte, err error) {
	err = c.Invoke(ctx, "/Echo/Echo", &body, &answer, echoOptions...)
	return answer, err
}
