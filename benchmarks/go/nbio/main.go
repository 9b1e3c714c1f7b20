// A server of arpc's frames on nbio, the event loop that arpc's author made for connections by the thousand: what
// reading, framing and writing cost in Go without a framework. It answers every request with the same body.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"arpcbench/load"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
)

const (
	headerSize = 16
	cmdAt      = 5
	request    = 1
	response   = 2
	// Bytes of a kept buffer; one that a large frame made larger is let go.
	mostKept = 64 << 10
)

var errNoRequest = errors.New("not a request")

// answer makes responses of all the whole frames at the start of data, in place. It returns their length and the bytes
// that the frame after them still lacks.
func answer(data []byte) (done, lacks int, err error) {
	for {
		rest := data[done:]
		if len(rest) < headerSize {
			return done, headerSize - len(rest), nil
		}
		if rest[cmdAt] != request {
			return done, 0, errNoRequest
		}
		size := headerSize + int(binary.LittleEndian.Uint32(rest))
		if len(rest) < size {
			return done, size - len(rest), nil
		}
		rest[cmdAt] = response
		done += size
	}
}

// frames answers what one connection sends.
type frames struct {
	setup load.Setup
	// The start of a frame whose end has not come yet.
	rest []byte
}

func (f *frames) received(conn *nbio.Conn, data []byte) {
	if len(f.rest) > 0 {
		f.rest = append(f.rest, data...)
		data = f.rest
	}
	done, lacks, err := answer(data)
	if err != nil {
		conn.CloseWithError(err)
		return
	}
	if done > 0 {
		f.send(conn, data[:done])
	}
	switch left := data[done:]; {
	case len(left) == 0 && cap(f.rest) > mostKept:
		f.rest = nil
	case done > 0 || len(f.rest) == 0:
		f.rest = append(f.rest[:0], left...)
	}
	if len(f.rest) > 0 {
		f.rest = slices.Grow(f.rest, lacks)
	}
}

// send writes at once or after the delay. What the socket does not take at once nbio copies.
func (f *frames) send(conn *nbio.Conn, answers []byte) {
	if f.setup.Delay == 0 {
		conn.Write(answers)
		return
	}
	answers = bytes.Clone(answers)
	go func() {
		f.setup.Sleep()
		conn.Write(answers)
	}()
}

func start(setup load.Setup) (string, error) {
	logging.SetLevel(logging.LevelNone)
	engine := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{"127.0.0.1:0"}})
	engine.OnOpen(func(conn *nbio.Conn) { conn.SetSession(&frames{setup: setup}) })
	engine.OnData(func(conn *nbio.Conn, data []byte) { conn.Session().(*frames).received(conn, data) })
	if err := engine.Start(); err != nil {
		return "", err
	}
	return "tcp://" + engine.Addrs[0], nil
}

func connect(string, load.Load) (load.Conn, error) {
	return nil, errors.New("there is no load client on nbio: that of benchmarks/opponents/bare.py fits")
}

func main() { load.Program(start, connect) }
