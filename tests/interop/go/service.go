package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lesismal/arpc"
)

// patience bounds whatever waits for the other side.
const patience = 30 * time.Second

// Person travels as JSON.
type Person struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
}

// Sum is the body of /client/add.
type Sum struct {
	A int `json:"a"`
	B int `json:"b"`
}

// note is a message as it arrived.
type note struct {
	Text   string `json:"text"`
	Async  bool   `json:"async"`
	Notify bool   `json:"notify"`
}

// service has the handlers that Python calls; a server and a client register the same ones.
type service struct {
	broadcast func(method string, v any, args ...any)

	mu    sync.Mutex
	notes []note
	held  int
	gate  chan struct{}
	idle  sync.WaitGroup

	streams streams
}

func newService(broadcast func(string, any, ...any)) *service {
	return &service{broadcast: broadcast, gate: make(chan struct{})}
}

// register sets the handlers: true runs a handler in a goroutine of its own, false in the connection's reader.
func (s *service) register(h arpc.Handler) {
	h.Handle("/echo", echo, true)
	h.Handle("/inline/echo", echo, false)
	h.Handle("/"+strings.Repeat("m", arpc.MaxMethodLen-1), echo, true)
	h.Handle("/text", text, true)
	h.Handle("/any", anything, true)
	h.Handle("/person", person, true)
	h.Handle("/nil", func(ctx *arpc.Context) { _ = ctx.Write(nil) }, true)
	h.Handle("/size", func(ctx *arpc.Context) { _ = ctx.Write(len(ctx.Body())) }, true)
	h.Handle("/make", makeBody, true)
	h.Handle("/fail", func(ctx *arpc.Context) { _ = ctx.Error(errors.New("boom: " + string(ctx.Body()))) }, true)
	h.Handle("/fail/empty", func(ctx *arpc.Context) { _ = ctx.Error("") }, true)
	h.Handle("/slow", slow, true)
	h.Handle("/hold", s.hold, true)
	h.Handle("/held", s.countHeld, true)
	h.Handle("/release", s.release, true)
	h.Handle("/client/add", add, true)
	h.Handle("/whoami", whoami, true)
	h.Handle("/countdown", countdown, true)
	h.Handle("/note", s.note, false) // in the order of arrival
	h.Handle("/notes", s.listNotes, false)
	h.Handle("/notify_me", notifyMe, true)
	h.Handle("/broadcast", s.broadcastBody, true)
	h.Handle("/first_frame", func(ctx *arpc.Context) { _ = ctx.Write(tapOf(ctx.Client).firstFrame()) }, true)
	h.Handle("/frames", func(ctx *arpc.Context) { _ = ctx.Write(tapOf(ctx.Client).summary()) }, true)
	h.Handle("/scenario", scenario, true)
	s.streams.register(h)
}

func echo(ctx *arpc.Context) { _ = ctx.Write(ctx.Body()) }

func text(ctx *arpc.Context) {
	var s string
	if err := ctx.Bind(&s); err != nil {
		_ = ctx.Error(err)
		return
	}
	_ = ctx.Write(s + ", said Go")
}

func anything(ctx *arpc.Context) {
	var v any
	if err := ctx.Bind(&v); err != nil {
		_ = ctx.Error(err)
		return
	}
	_ = ctx.Write(&v)
}

func person(ctx *arpc.Context) {
	var p Person
	if err := ctx.Bind(&p); err != nil {
		_ = ctx.Error(err)
		return
	}
	p.Age++
	_ = ctx.Write(&p)
}

// makeBody answers as many bytes as the text of its body says.
func makeBody(ctx *arpc.Context) {
	size, err := strconv.Atoi(string(ctx.Body()))
	if err != nil {
		_ = ctx.Error(err)
		return
	}
	_ = ctx.Write(pattern(size))
}

// slow answers after the milliseconds that its body names.
func slow(ctx *arpc.Context) {
	ms, err := strconv.Atoi(string(ctx.Body()))
	if err != nil {
		_ = ctx.Error(err)
		return
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	_ = ctx.Write("slow")
}

// hold answers when somebody calls /release.
func (s *service) hold(ctx *arpc.Context) {
	s.mu.Lock()
	s.held++
	gate := s.gate
	s.idle.Add(1)
	s.mu.Unlock()
	<-gate
	_ = ctx.Write("released")
	s.idle.Done()
}

func (s *service) countHeld(ctx *arpc.Context) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	_ = ctx.Write(held)
}

// release answers after the answers of all held calls have gone into the send queue.
func (s *service) release(ctx *arpc.Context) {
	s.mu.Lock()
	held := s.held
	s.held = 0
	close(s.gate)
	s.gate = make(chan struct{})
	s.mu.Unlock()
	s.idle.Wait()
	_ = ctx.Write(held)
}

func add(ctx *arpc.Context) {
	var sum Sum
	if err := ctx.Bind(&sum); err != nil {
		_ = ctx.Error(err)
		return
	}
	_ = ctx.Write(sum.A + sum.B)
}

// whoami has the caller add up the numbers that it sent.
func whoami(ctx *arpc.Context) {
	var sum Sum
	if err := ctx.Bind(&sum); err != nil {
		_ = ctx.Error(err)
		return
	}
	var result int
	if err := ctx.Client.Call("/client/add", &sum, &result, patience); err != nil {
		_ = ctx.Error(err)
		return
	}
	_ = ctx.Write(result)
}

// countdown(n) answers its own step and those of the caller's countdown(n-1).
func countdown(ctx *arpc.Context) {
	var n int
	if err := ctx.Bind(&n); err != nil {
		_ = ctx.Error(err)
		return
	}
	steps := []string{"go " + strconv.Itoa(n)}
	if n > 0 {
		var deeper []string
		if err := ctx.Client.Call("/countdown", n-1, &deeper, patience); err != nil {
			_ = ctx.Error(err)
			return
		}
		steps = append(steps, deeper...)
	}
	_ = ctx.Write(steps)
}

func (s *service) note(ctx *arpc.Context) {
	message := ctx.Message
	s.mu.Lock()
	s.notes = append(s.notes, note{string(ctx.Body()), message.IsAsync(), message.Cmd() == arpc.CmdNotify})
	s.mu.Unlock()
	if message.Cmd() == arpc.CmdRequest {
		_ = ctx.Write(nil)
	}
}

func (s *service) listNotes(ctx *arpc.Context) {
	s.mu.Lock()
	notes := append([]note{}, s.notes...)
	s.mu.Unlock()
	_ = ctx.Write(notes)
}

// notifyMe sends its body back as a notify, and after that answers.
func notifyMe(ctx *arpc.Context) {
	if err := ctx.Client.Notify("/note", ctx.Body(), patience); err != nil {
		_ = ctx.Error(err)
		return
	}
	_ = ctx.Write(nil)
}

func (s *service) broadcastBody(ctx *arpc.Context) {
	if s.broadcast == nil {
		_ = ctx.Error("only a server can broadcast")
		return
	}
	s.broadcast("/note", ctx.Body())
	_ = ctx.Write(nil)
}

// greet sends what it can before the client has been answered anything, with metadata where there are any.
func (s *service) greet(c *arpc.Client) {
	var values []any
	if *meta {
		values = []any{withMeta([]byte("\x81\xa1k\xa1v"))} // {"k": "v"}
	}
	_ = c.Notify("/early", "early", patience, values...)
	stream := c.NewStream("/stream/early")
	_ = stream.SendAndClose("early", values...)
	s.streams.keepFirst(stream)
}

// scenario runs the scenario that its body names against the caller.
func scenario(ctx *arpc.Context) { _ = ctx.Write(runScenario(ctx.Client, string(ctx.Body()))) }

// pattern is the body of size bytes that both languages make on their own.
func pattern(size int) []byte {
	period := make([]byte, 251)
	for i := range period {
		period[i] = byte(i)
	}
	return bytes.Repeat(period, size/len(period)+1)[:size]
}
