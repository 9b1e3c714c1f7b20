package main

import (
	"encoding/json"
	"errors"
	"sync"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/extension/middleware/coder/tracing"
	"github.com/opentracing/basictracer-go"
	"github.com/opentracing/opentracing-go"
)

// Span is a span context as JSON.
type Span struct {
	Trace   uint64            `json:"trace"`
	Span    uint64            `json:"span"`
	Sampled bool              `json:"sampled"`
	Baggage map[string]string `json:"baggage"`
}

// Note is a notify as it arrived.
type Note struct {
	Size   int                    `json:"size"`
	Values map[string]interface{} `json:"values"`
}

var (
	mu    sync.Mutex
	notes = []Note{}
)

func register(h arpc.Handler) {
	h.Handle("/echo", func(ctx *arpc.Context) { _ = ctx.Write(ctx.Body()) }, true)
	h.Handle("/fail", func(ctx *arpc.Context) { _ = ctx.Error(errors.New("boom: " + string(ctx.Body()))) }, true)
	h.Handle("/values", func(ctx *arpc.Context) { _ = ctx.Write(texts(ctx.Values())) }, true)
	h.Handle("/answer", func(ctx *arpc.Context) {
		ctx.Set("app", string(ctx.Body()))
		_ = ctx.Write("an answer")
	}, true)
	h.Handle("/note", func(ctx *arpc.Context) {
		mu.Lock()
		notes = append(notes, Note{len(ctx.Body()), texts(ctx.Values())})
		mu.Unlock()
	}, false)
	h.Handle("/notes", func(ctx *arpc.Context) {
		mu.Lock()
		defer mu.Unlock()
		_ = ctx.Write(notes)
	}, false)
	h.Handle("/call_me", func(ctx *arpc.Context) { callBack(ctx, values("app", "said Go")) }, true)
	h.Handle("/notify_me", func(ctx *arpc.Context) {
		err := ctx.Client.Notify("/note", ctx.Body(), patience, values("app", "noted Go"))
		answer(ctx, nil, err)
	}, true)
	h.Handle("/many_values", func(ctx *arpc.Context) {
		many := values("text", "grün")
		many["number"], many["yes"], many["none"] = -7, true, nil
		many["raw"], many["list"] = []byte{0, 255}, []interface{}{1, "two"}
		many["map"], many[5] = map[string]int{"a": 1}, "a key that is no text"
		callBack(ctx, many)
	}, true)
	h.Handle("/span", span, true)
	h.Handle("/span_me", func(ctx *arpc.Context) {
		var s Span
		if err := ctx.Bind(&s); err != nil {
			_ = ctx.Error(err)
			return
		}
		context := basictracer.SpanContext{TraceID: s.Trace, SpanID: s.Span, Sampled: s.Sampled, Baggage: s.Baggage}
		callBack(ctx, tracing.Values(context))
	}, true)
}

// callBack echoes the body by way of the caller, with these values beside it, and answers what came back.
func callBack(ctx *arpc.Context, values map[interface{}]interface{}) {
	var echoed []byte
	err := ctx.Client.Call("/echo", ctx.Body(), &echoed, patience, values)
	answer(ctx, echoed, err)
}

func answer(ctx *arpc.Context, value interface{}, err error) {
	if err != nil {
		value = err
	}
	_ = ctx.Write(value)
}

// span answers what Go's tracer reads of the message.
func span(ctx *arpc.Context) {
	found, err := tracer.Extract(opentracing.Binary, ctx)
	if err != nil {
		_ = ctx.Error(err)
		return
	}
	s := found.(basictracer.SpanContext)
	_ = ctx.Write(&Span{s.TraceID, s.SpanID, s.Sampled, s.Baggage})
}

func values(key string, value interface{}) map[interface{}]interface{} {
	return map[interface{}]interface{}{key: value}
}

// texts are the values of a message whose keys are texts and which JSON can carry.
func texts(values map[interface{}]interface{}) map[string]interface{} {
	found := map[string]interface{}{}
	for key, value := range values {
		if _, err := json.Marshal(value); err == nil {
			if text, ok := key.(string); ok {
				found[text] = value
			}
		}
	}
	return found
}
