package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"arpcbench/hello"
	"arpcbench/load"

	"github.com/lesismal/arpc"
)

// conn is one arpc client, which has one network connection.
type conn struct {
	client *arpc.Client
}

var (
	once    sync.Once
	handler arpc.Handler
)

// connect makes a connection; all of them share a handler, as those of arpc's client pool do, and answer the server's
// calls.
func connect(address string, l load.Load) (load.Conn, error) {
	once.Do(func() {
		configure(arpc.DefaultHandler, l.Body)
		handler = arpc.DefaultHandler.Clone()
		answer(handler, load.Setup{Body: l.Body})
	})
	client, err := arpc.NewClient(func() (net.Conn, error) {
		return net.DialTimeout("tcp", strings.TrimPrefix(address, "tcp://"), load.Timeout)
	}, handler)
	if err != nil {
		return nil, err
	}
	return conn{client}, nil
}

func (c conn) Call(body string, size, caller int) (load.Call, error) {
	switch body {
	case "bytes":
		return c.echo(load.Bytes(size, caller)), nil
	case "json":
		return c.person(load.NewPerson(size, caller)), nil
	case "say":
		return c.say(hello.Request()), nil
	}
	return nil, fmt.Errorf("there is no body %q", body)
}

func (c conn) echo(body []byte) load.Call {
	return func() (bool, error) {
		var answer []byte
		err := c.client.Call(load.EchoMethod, body, &answer, load.Timeout)
		return bytes.Equal(answer, body), err
	}
}

func (c conn) person(body *load.Person) load.Call {
	expected := body.Older()
	return func() (bool, error) {
		var answer load.Person
		err := c.client.Call(load.PersonMethod, body, &answer, load.Timeout)
		return answer.Equal(expected), err
	}
}

func (c conn) say(body *hello.BenchmarkMessage) load.Call {
	return func() (bool, error) {
		var answer hello.BenchmarkMessage
		err := c.client.Call(load.SayMethod, body, &answer, load.Timeout)
		return hello.IsAnswer(&answer), err
	}
}

// Notify returns when the message is in the connection's queue, and waits for room there.
func (c conn) Notify(body []byte) error {
	return c.client.NotifyContext(context.Background(), noteMethod, body)
}

func (c conn) Received() (int64, error) {
	var digits string
	if err := c.client.Call(receivedMethod, nil, &digits, load.Timeout); err != nil {
		return 0, err
	}
	return strconv.ParseInt(digits, 10, 64)
}

func (c conn) Reverse(l load.Load) (result load.Result, err error) {
	request, err := json.Marshal(l)
	if err != nil {
		return result, err
	}
	var answer []byte
	working := time.Duration((l.Warmup + l.Seconds) * float64(time.Second))
	if err := c.client.Call(reverseMethod, request, &answer, working+2*load.Timeout); err != nil {
		return result, err
	}
	return result, json.Unmarshal(answer, &result)
}

func (c conn) Stream() load.Stream {
	return stream{c.client.NewStream(itemsMethod)}
}

// stream is one to the server; it is opened by its first item.
type stream struct {
	items *arpc.Stream
}

func (s stream) Send(item []byte) error {
	return s.items.Send(item)
}

func (s stream) Total() (int64, error) {
	s.items.CloseSendContext(context.Background())
	var digits string
	if err := s.items.Recv(&digits); err != nil {
		return 0, err
	}
	return strconv.ParseInt(digits, 10, 64)
}

func (c conn) Close() error {
	c.client.Stop()
	return nil
}
