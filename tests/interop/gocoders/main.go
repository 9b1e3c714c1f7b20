// Command gocoders is the Go side of the coders' interop tests: a server or a client of the last arpc module that still
// holds its coders, with those that are asked for.
//
//	gocoders -coders gzip=100,appender server            listens on a free port of 127.0.0.1
//	gocoders -coders msgpack,tracing client ADDRESS      connects, notifies /ready and serves
//
// Coders are registered in the given order: gzip=THRESHOLD, appender (named app, on bit 4), msgpack, tracing. It prints
// one JSON object per line on stdout, logs on stderr, and ends when its stdin is closed.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/extension/middleware/coder"
	"github.com/lesismal/arpc/extension/middleware/coder/gzip"
	"github.com/lesismal/arpc/extension/middleware/coder/msgpack"
	"github.com/lesismal/arpc/extension/middleware/coder/tracing"
	"github.com/lesismal/arpc/log"
)

// patience bounds whatever waits for the other side.
const patience = 30 * time.Second

var (
	coders = flag.String("coders", "", "the coders, in order")
	tracer = tracing.NewTracer(nil)
)

func main() {
	flag.Parse()
	log.Output = os.Stderr
	log.SetLevel(log.LevelWarn)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()

	switch args := flag.Args(); {
	case len(args) == 1 && args[0] == "server":
		serve()
	case len(args) == 2 && args[0] == "client":
		dial(args[1])
	default:
		fail(fmt.Errorf("unknown arguments: %q", args))
	}
}

func newHandler() arpc.Handler {
	handler := arpc.DefaultHandler.Clone()
	for _, name := range strings.Split(*coders, ",") {
		name, argument, _ := strings.Cut(name, "=")
		switch name {
		case "gzip":
			threshold, err := strconv.Atoi(argument)
			if err != nil {
				fail(err)
			}
			handler.UseCoder(gzip.New(threshold))
		case "appender":
			handler.UseCoder(coder.NewAppender("app", 4, textToBytes, bytesToText))
		case "msgpack":
			handler.UseCoder(msgpack.New())
		case "tracing":
			handler.UseCoder(tracer)
		case "":
		default:
			fail(fmt.Errorf("unknown coder: %q", name))
		}
	}
	register(handler)
	return handler
}

func textToBytes(value interface{}) ([]byte, error) {
	text, ok := value.(string)
	if !ok {
		return nil, errors.New("no text")
	}
	return []byte(text), nil
}

func bytesToText(data []byte) (interface{}, error) { return string(data), nil }

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	server := arpc.NewServer()
	server.Handler = newHandler()
	emit(map[string]string{"address": "tcp://" + listener.Addr().String()})
	fail(server.Serve(listener))
}

func dial(address string) {
	client, err := arpc.NewClient(func() (net.Conn, error) {
		return net.DialTimeout("tcp", strings.TrimPrefix(address, "tcp://"), 10*time.Second)
	}, newHandler())
	if err != nil {
		fail(err)
	}
	if err := client.Notify("/ready", nil, patience); err != nil {
		fail(err)
	}
	emit(map[string]string{"connected": address})
	select {} // until stdin is closed
}

func emit(value interface{}) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "gocoders:", err)
	os.Exit(1)
}
