// Server and load client on rpcx: its own codecs of protobuf, JSON and bytes, and handlers by AddHandler, which spare it
// the reflection of registered services.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"

	"arpcbench/hello"
	"arpcbench/load"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/log"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"
)

const service = "Hello"

func serve(setup load.Setup) (string, error) {
	s := server.NewServer()
	handle(s, setup, "Echo", func(body *[]byte) any { return *body })
	handle(s, setup, "Person", func(person *load.Person) any { return person.Older() })
	handle(s, setup, "Say", func(message *hello.BenchmarkMessage) any { return hello.Answer(message) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go s.ServeListener("tcp", listener)
	return listener.Addr().String(), nil
}

func handle[T any](s *server.Server, setup load.Setup, method string, answer func(*T) any) {
	s.AddHandler(service, method, func(ctx *server.Context) error {
		body := new(T)
		if err := ctx.Bind(body); err != nil {
			return err
		}
		setup.Sleep()
		return ctx.Write(answer(body))
	})
}

var serializeTypes = map[string]protocol.SerializeType{
	"bytes": protocol.SerializeNone,
	"json":  protocol.JSON,
	"say":   protocol.ProtoBuffer,
}

type conn struct{ *client.Client }

func connect(address string, l load.Load) (load.Conn, error) {
	option := client.DefaultOption
	option.ConnectTimeout = load.Timeout
	option.SerializeType = serializeTypes[l.Body]
	c := client.NewClient(option)
	return conn{c}, c.Connect("tcp", address)
}

func (c conn) Call(body string, size, caller int) (load.Call, error) {
	switch body {
	case "bytes":
		sent := load.Bytes(size, caller)
		return call(c, "Echo", sent, func(answer *[]byte) bool { return bytes.Equal(*answer, sent) }), nil
	case "json":
		sent := load.NewPerson(size, caller)
		return call(c, "Person", sent, sent.Older().Equal), nil
	case "say":
		return call(c, "Say", hello.Request(), hello.IsAnswer), nil
	}
	return nil, fmt.Errorf("there is no body %q", body)
}

func call[T any](c conn, method string, body any, right func(*T) bool) load.Call {
	return func() (bool, error) {
		ctx, cancel := context.WithTimeout(context.Background(), load.Timeout)
		defer cancel()
		answer := new(T)
		err := c.Client.Call(ctx, service, method, body, answer)
		return err == nil && right(answer), err
	}
}

func main() {
	log.SetDummyLogger() // rpcx logs every connection that is closed
	load.Program(serve, connect)
}
