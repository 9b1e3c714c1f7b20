// Server and load client on grpc-go: the rpcx suite's message by generated code, and bytes by a codec that leaves them
// as they are, so that nothing but gRPC itself is measured.
//
// service/service_grpc.pb.go is generated, in that folder:
//
//	GOBIN=$PWD/../../../.build go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
//	PATH=$PWD/../../../.build:$PATH python -m grpc_tools.protoc -I. -I../../hello \
//		--go-grpc_out=paths=source_relative:. service.proto
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"

	"arpcbench/grpc/service"
	"arpcbench/hello"
	"arpcbench/load"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// Bytes of a message; gRPC's own limit is 4 MiB.
	largest = 64 << 20
	// Larger than its own, which gave up to a sixth more.
	buffer = 256 << 10
	window = 32 << 20
)

type helloServer struct {
	service.UnimplementedHelloServer
	setup load.Setup
}

func (s helloServer) Say(_ context.Context, message *hello.BenchmarkMessage) (*hello.BenchmarkMessage, error) {
	s.setup.Sleep()
	return hello.Answer(message), nil
}

func serve(setup load.Setup) (string, error) {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(largest),
		grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(2*window))
	service.RegisterHelloServer(s, helloServer{setup: setup})
	s.RegisterService(&echoService, setup)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go s.Serve(listener)
	return listener.Addr().String(), nil
}

type conn struct{ *grpc.ClientConn }

func connect(address string, _ load.Load) (load.Conn, error) {
	c, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(2*window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest)))
	if err != nil {
		return nil, err
	}
	return conn{c}, ready(c)
}

// ready connects; gRPC would do so at the first call.
func ready(c *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), load.Timeout)
	defer cancel()
	c.Connect()
	for state := c.GetState(); state != connectivity.Ready; state = c.GetState() {
		if !c.WaitForStateChange(ctx, state) {
			return fmt.Errorf("no connection, its state is %v", state)
		}
	}
	return nil
}

func (c conn) Call(body string, size, caller int) (load.Call, error) {
	switch body {
	case "bytes":
		sent := load.Bytes(size, caller)
		return call(func(ctx context.Context) (bool, error) {
			answer, err := echo(ctx, c.ClientConn, sent)
			return bytes.Equal(answer, sent), err
		}), nil
	case "say":
		client, sent := service.NewHelloClient(c), hello.Request()
		return call(func(ctx context.Context) (bool, error) {
			answer, err := client.Say(ctx, sent)
			return hello.IsAnswer(answer), err
		}), nil
	}
	return nil, fmt.Errorf("there is no body %q", body)
}

func call(do func(context.Context) (bool, error)) load.Call {
	return func() (bool, error) {
		ctx, cancel := context.WithTimeout(context.Background(), load.Timeout)
		defer cancel()
		return do(ctx)
	}
}

func main() { load.Program(serve, connect) }
