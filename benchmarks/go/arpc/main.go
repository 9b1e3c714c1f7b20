// Go arpc in the benchmarks: `arpc server` and `arpc client`, with its default or with its best settings.
package main

import (
	"flag"

	"arpcbench/load"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/codec"
	"github.com/lesismal/arpc/log"
)

// Methods besides those of package load.
const (
	noteMethod     = "/note"
	receivedMethod = "/received"
	reverseMethod  = "/reverse"
	itemsMethod    = "/items"
)

var (
	sendBuffer = flag.Int("send-buffer", 0, "SetSendBufferSize; 0 keeps arpc's default")
	inline     = flag.Bool("inline", false, "run handlers in the connection's reading goroutine; "+
		"arpc's default is one goroutine a request, which handlers that sleep have in any case")
)

func main() {
	load.Program(start, connect)
}

// configure sets what holds for both sides: the handler that every connection shares, and the codec.
func configure(handler arpc.Handler, body string) {
	log.SetLevel(log.LevelNone)
	if *sendBuffer > 0 {
		handler.SetSendBufferSize(*sendBuffer)
	}
	if *inline {
		handler.SetAsyncResponse(false)
	}
	if body == "say" {
		codec.SetCodec(protobufCodec{})
	}
}
