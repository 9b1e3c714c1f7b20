package main

import (
	"encoding/json"
	"io"
	"net"
	"strconv"
	"sync/atomic"

	"arpcbench/hello"
	"arpcbench/load"

	"github.com/lesismal/arpc"
)

// start serves on a free port.
func start(s load.Setup) (string, error) {
	configure(arpc.DefaultHandler, s.Body) // the server copies it
	server := arpc.NewServer()
	answer(server.Handler, s)
	count(server.Handler)
	server.Handler.HandleStream(itemsMethod, countItems, true) // inline the first stream would hold up all others
	server.Handler.Handle(reverseMethod, reverse, true)        // inline it would hold up the answers to its own calls
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go server.Serve(listener)
	return "tcp://" + listener.Addr().String(), nil
}

// answer registers the handlers of the bodies. Handlers that sleep are never inline: each would hold up the calls
// behind it, and nobody would run them so.
func answer(handler arpc.Handler, s load.Setup) {
	async := handler.AsyncResponse() || s.Delay > 0
	handler.Handle(load.EchoMethod, func(ctx *arpc.Context) {
		var body []byte
		if bound(ctx, &body) {
			s.Sleep()
			ctx.Write(body)
		}
	}, async)
	handler.Handle(load.PersonMethod, func(ctx *arpc.Context) {
		var body load.Person
		if bound(ctx, &body) {
			s.Sleep()
			body.Age++
			ctx.Write(&body)
		}
	}, async)
	handler.Handle(load.SayMethod, func(ctx *arpc.Context) {
		var body hello.BenchmarkMessage
		if bound(ctx, &body) {
			s.Sleep()
			ctx.Write(hello.Answer(&body))
		}
	}, async)
}

// bound decodes the body; if it cannot be decoded, the answer is the error.
func bound(ctx *arpc.Context, body interface{}) bool {
	err := ctx.Bind(body)
	if err != nil {
		ctx.Error(err)
	}
	return err == nil
}

// count registers the notify and what asks how many of them there were, in digits, whatever the codec.
func count(handler arpc.Handler) {
	var received int64
	handler.Handle(noteMethod, func(ctx *arpc.Context) {
		var body []byte
		if ctx.Bind(&body) == nil {
			atomic.AddInt64(&received, 1)
		}
	})
	handler.Handle(receivedMethod, func(ctx *arpc.Context) {
		ctx.Write(strconv.FormatInt(atomic.LoadInt64(&received), 10))
	})
}

// reverse puts a load on the connection that it came over; load and result are JSON, whatever the codec.
func reverse(ctx *arpc.Context) {
	var l load.Load
	if err := json.Unmarshal(ctx.Body(), &l); err != nil {
		ctx.Error(err)
		return
	}
	calls := make([]load.Call, l.Callers)
	for number := range calls {
		call, err := conn{ctx.Client}.Call(l.Body, l.Size, number)
		if err != nil {
			ctx.Error(err)
			return
		}
		calls[number] = call
	}
	result, err := json.Marshal(load.ClosedLoop(calls, l))
	if err != nil {
		ctx.Error(err)
		return
	}
	ctx.Write(result)
}

// countItems answers a stream that has ended with the number of its items, in digits.
func countItems(stream *arpc.Stream) {
	var read int64
	for {
		var item []byte
		if err := stream.Recv(&item); err == io.EOF {
			break
		} else if err != nil {
			return
		}
		read++
	}
	_ = stream.SendAndClose(strconv.FormatInt(read, 10)) // a client that has gone counts it as an error
}
