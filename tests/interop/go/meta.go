package main

import (
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/lesismal/arpc"
)

const (
	metaName = "meta"
	metaBit  = 1
)

// appender is what a Go service registers to read and write metadata: the coder.Appender of arpc's extensions, named
// meta, on bit 1. It leaves the values as they are (MessagePack) and remembers what came.
type appender struct {
	mu   sync.Mutex
	seen []trailer
}

// trailer is one that came, in hex.
type trailer struct {
	Command int    `json:"command"`
	Method  string `json:"method"`
	Value   string `json:"value"`
}

// Encode puts the message's value, if it has one, behind its data: name, value, and the length of all three.
func (a *appender) Encode(_ *arpc.Client, message *arpc.Message) *arpc.Message {
	value, ok := message.Get(metaName)
	if !ok {
		return message
	}
	tail := append([]byte(metaName), value.([]byte)...)
	tail = append(tail, 0, 0)
	binary.BigEndian.PutUint16(tail[len(tail)-2:], uint16(len(tail)))
	message.Buffer = append(message.Buffer, tail...)
	message.SetBodyLen(len(message.Buffer) - arpc.HeadLen)
	_ = message.SetFlagBit(metaBit, true)
	return message
}

// Decode takes the trailer off a message and keeps its value. Go puts it on the answer, too, if nothing replaces it.
func (a *appender) Decode(_ *arpc.Client, message *arpc.Message) *arpc.Message {
	if !message.IsFlagBitSet(metaBit) {
		return message
	}
	end := len(message.Buffer) - 2
	start := len(message.Buffer) - int(binary.BigEndian.Uint16(message.Buffer[end:]))
	value := append([]byte{}, message.Buffer[start+len(metaName):end]...)
	message.Buffer = message.Buffer[:start]
	message.SetBodyLen(start - arpc.HeadLen)
	_ = message.SetFlagBit(metaBit, false)
	message.Set(metaName, value)
	a.mu.Lock()
	a.seen = append(a.seen, trailer{int(message.Cmd()), message.Method(), hex.EncodeToString(value)})
	a.mu.Unlock()
	return message
}

// withMeta are the values of a message that carries this as metadata.
func withMeta(value []byte) map[interface{}]interface{} {
	return map[interface{}]interface{}{metaName: value}
}

func (a *appender) register(h arpc.Handler) {
	h.UseCoder(a)
	h.Handle("/meta/seen", a.listSeen, true)
	h.Handle("/meta/answer", func(ctx *arpc.Context) {
		ctx.Set(metaName, ctx.Body())
		_ = ctx.Write("an answer")
	}, true)
	h.Handle("/meta/fail", func(ctx *arpc.Context) {
		ctx.Set(metaName, ctx.Body())
		_ = ctx.Error("a failure")
	}, true)
	h.Handle("/meta/call_me", callWithMeta, true)
	h.Handle("/meta/notify_me", func(ctx *arpc.Context) {
		err := ctx.Client.Notify("/meta/note", "a note", patience, withMeta(ctx.Body()))
		if err != nil {
			_ = ctx.Error(err)
			return
		}
		_ = ctx.Write(nil)
	}, true)
	h.Handle("/meta/stream_me", func(ctx *arpc.Context) {
		stream := ctx.Client.NewStream("/meta/stream")
		_ = stream.Send("the first", withMeta(ctx.Body()))
		_ = stream.SendAndClose("the second", withMeta(ctx.Body()))
		items, err := rest(stream)
		if err != nil {
			_ = ctx.Error(err)
			return
		}
		_ = ctx.Write(items)
	}, true)
}

func (a *appender) listSeen(ctx *arpc.Context) {
	a.mu.Lock()
	seen := append([]trailer{}, a.seen...)
	a.mu.Unlock()
	_ = ctx.Write(seen)
}

// metaAnswer is what a call with metadata got.
type metaAnswer struct {
	Text  string `json:"text"`
	Error bool   `json:"error"`
	Value string `json:"value"` // hex; empty if there was none
}

// callWithMeta calls the caller's /meta/call with the body as metadata, and answers what came back.
func callWithMeta(ctx *arpc.Context) {
	answers := make(chan metaAnswer, 1)
	err := ctx.Client.CallAsync("/meta/call", "a request", func(answer *arpc.Context, err error) {
		var a metaAnswer
		if answer != nil {
			a.Text, a.Error = string(answer.Body()), answer.Message.IsError()
			if value, ok := answer.Get(metaName); ok {
				a.Value = hex.EncodeToString(value.([]byte))
			}
		}
		answers <- a
	}, patience, withMeta(ctx.Body()))
	if err != nil {
		_ = ctx.Error(err)
		return
	}
	select {
	case a := <-answers:
		_ = ctx.Write(&a)
	case <-time.After(patience):
		_ = ctx.Error("no answer")
	}
}
