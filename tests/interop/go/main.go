// Command arpcinterop is the Go side of the interop tests: a server or a client of the original arpc.
//
//	arpcinterop [flags] server                        listens on a free port of 127.0.0.1
//	arpcinterop [flags] client ADDRESS                connects, notifies /ready and serves
//	arpcinterop [flags] client ADDRESS SCENARIO...    runs these scenarios ("all": every one) and ends
//
// It prints one JSON object per line on stdout, logs on stderr, and ends when its stdin is closed, so that
// no process outlives the tests, however these end.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/log"
)

var (
	sendBuffer = flag.Int("send-buffer", 0, "bytes that may be batched into one write; 0, Go's default, never batches")
	eager      = flag.Bool("eager", false, "a server notifies and opens a stream as soon as it has accepted a connection")
	meta       = flag.Bool("meta", false, "read and write metadata, by an appender named meta on bit 1")
	threshold  = flag.Int("gzip", -1, "compress frames of over so many bytes, as the coder of older arpc modules does")
	silent     = flag.Bool("silent", false, "a serving client sends nothing on its own")
)

// dials counts the connections that the client made: Go's client reconnects on its own.
var dials atomic.Int32

func main() {
	flag.Parse()
	log.Output = os.Stderr
	log.SetLevel(log.LevelWarn)
	go exitWithStdin()

	switch args := flag.Args(); {
	case len(args) == 1 && args[0] == "server":
		serve()
	case len(args) == 2 && args[0] == "client":
		serveAsClient(dial(args[1]))
	case len(args) > 2 && args[0] == "client":
		runScenarios(dial(args[1]), args[2:])
	default:
		fail(fmt.Errorf("unknown arguments: %q", args))
	}
}

func exitWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func newHandler() arpc.Handler {
	handler := arpc.DefaultHandler.Clone()
	handler.SetSendBufferSize(*sendBuffer)
	handler.SetReaderWrapper(newTap)
	if *meta {
		new(appender).register(handler)
	}
	if *threshold >= 0 {
		handler.UseCoder(compressor(*threshold))
	}
	return handler
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	server := arpc.NewServer()
	server.Handler = newHandler()
	service := newService(server.Broadcast)
	service.register(server.Handler)
	if *eager {
		server.Handler.HandleConnected(service.greet)
	}
	emit(map[string]any{"address": "tcp://" + listener.Addr().String()})
	fail(server.Serve(listener))
}

func dial(address string) *arpc.Client {
	handler := newHandler()
	newService(nil).register(handler)
	dialer := func() (net.Conn, error) {
		dials.Add(1)
		return net.DialTimeout("tcp", strings.TrimPrefix(address, "tcp://"), 10*time.Second)
	}
	client, err := arpc.NewClient(dialer, handler)
	if err != nil {
		fail(err)
	}
	return client
}

func serveAsClient(client *arpc.Client) {
	if !*silent {
		if err := client.Notify("/ready", nil, patience); err != nil {
			fail(err)
		}
	}
	emit(map[string]any{"connected": client.Conn.RemoteAddr().String()})
	select {} // until stdin is closed
}

func runScenarios(client *arpc.Client, names []string) {
	if names[0] == "all" {
		names = scenarioNames()
	}
	for _, name := range names {
		emit(runScenario(client, name))
	}
	client.Stop()
}

func emit(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "arpcinterop:", err)
	os.Exit(1)
}
