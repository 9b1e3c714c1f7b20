// The Go arpc server of the benchmarks: /echo answers the body's bytes, /person a JSON struct.
// It prints its address as one JSON line and serves until its standard input is closed.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"

	"arpcbench/workload"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/log"
)

func echo(ctx *arpc.Context) {
	var body []byte
	if err := ctx.Bind(&body); err != nil {
		ctx.Error(err)
		return
	}
	ctx.Write(body)
}

func person(ctx *arpc.Context) {
	var body workload.PersonBody
	if err := ctx.Bind(&body); err != nil {
		ctx.Error(err)
		return
	}
	body.Age++
	ctx.Write(&body)
}

func main() {
	sendBuffer := flag.Int("send-buffer", 0, "SetSendBufferSize; 0 keeps arpc's default")
	inline := flag.Bool("inline", false, "run handlers in the connection's reading goroutine; arpc's default is one goroutine a request")
	flag.Parse()

	log.SetLevel(log.LevelNone)
	server := arpc.NewServer()
	if *sendBuffer > 0 {
		server.Handler.SetSendBufferSize(*sendBuffer)
	}
	if *inline {
		server.Handler.SetAsyncResponse(false)
	}
	server.Handler.Handle(workload.Echo, echo)
	server.Handler.Handle(workload.Person, person)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go server.Serve(listener)
	json.NewEncoder(os.Stdout).Encode(map[string]string{"address": "tcp://" + listener.Addr().String()})
	io.Copy(io.Discard, os.Stdin)
}
