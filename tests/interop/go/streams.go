package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lesismal/arpc"
)

// order is the first item of /stream/make: how many items the other side wants, and how large.
type order struct {
	Count int `json:"count"`
	Size  int `json:"size"`
}

// streams has the handlers of streams, and remembers what they got.
type streams struct {
	mu   sync.Mutex
	runs map[string]int
	read []string

	pushed chan string
}

func (s *streams) register(h arpc.Handler) {
	s.runs = map[string]int{}
	handle := func(method string, serve func(*arpc.Stream)) {
		h.HandleStream(method, func(stream *arpc.Stream) {
			s.mu.Lock()
			s.runs[method]++
			s.mu.Unlock()
			serve(stream)
		}, true)
	}
	handle("/stream/echo", echoItems)
	handle("/stream/text", textItems)
	handle("/stream/person", personItems)
	handle("/stream/make", makeItems)
	handle("/stream/sum", sumItems)
	handle("/stream/greet", func(stream *arpc.Stream) { _ = stream.SendAndClose("welcome") })
	handle("/stream/slow", slowItems)
	handle("/stream/hush", func(stream *arpc.Stream) {
		stream.CloseSend()
		s.keepItems(stream)
	})
	handle("/stream/last", func(stream *arpc.Stream) {
		_ = stream.SendAndClose("the last")
		s.keepItems(stream)
	})
	handle("/stream/abandon", func(stream *arpc.Stream) { _ = stream.Send("that is all") })
	h.Handle("/stream/push", s.pushItems, true)
	h.Handle("/stream/pushed", s.awaitPushed, true)
	h.Handle("/stream/runs", s.countRuns, true)
	h.Handle("/stream/read", s.listRead, true)
}

// eachItem calls use with every item until the other side has ended its half.
func eachItem(stream *arpc.Stream, use func(item []byte)) {
	for {
		var item []byte
		if stream.Recv(&item) != nil {
			return
		}
		use(item)
	}
}

func echoItems(stream *arpc.Stream) {
	eachItem(stream, func(item []byte) { _ = stream.Send(item) })
	stream.CloseSend()
}

func textItems(stream *arpc.Stream) {
	for {
		var item string
		if stream.Recv(&item) != nil {
			break
		}
		_ = stream.Send(item + ", said Go")
	}
	stream.CloseSend()
}

func personItems(stream *arpc.Stream) {
	for {
		var p Person
		if stream.Recv(&p) != nil {
			break
		}
		p.Age++
		_ = stream.Send(&p)
	}
	stream.CloseSend()
}

// makeItems sends the items that the first one orders, as fast as it can.
func makeItems(stream *arpc.Stream) {
	var o order
	if stream.Recv(&o) == nil {
		for i := 0; i < o.Count; i++ {
			if stream.Send(numbered(i, o.Size)) != nil {
				return
			}
		}
	}
	stream.CloseSend()
}

func sumItems(stream *arpc.Stream) {
	sum := 0
	for {
		var n int
		if stream.Recv(&n) != nil {
			break
		}
		sum += n
	}
	_ = stream.SendAndClose(sum)
}

// slowItems reads nothing for the milliseconds of the first item, and then answers how many others came.
func slowItems(stream *arpc.Stream) {
	var ms, count int
	if stream.Recv(&ms) != nil {
		return
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	eachItem(stream, func([]byte) { count++ })
	_ = stream.SendAndClose(count)
}

// keepItems keeps what comes, for /stream/read.
func (s *streams) keepItems(stream *arpc.Stream) {
	keep := func(text string) {
		s.mu.Lock()
		s.read = append(s.read, text)
		s.mu.Unlock()
	}
	eachItem(stream, func(item []byte) { keep(string(item)) })
	keep("EOF")
	stream.CloseSend()
}

// pushItems opens /stream/take at the caller and sends it, as fast as it can, what the caller orders.
func (s *streams) pushItems(ctx *arpc.Context) {
	var o order
	if err := ctx.Bind(&o); err != nil {
		_ = ctx.Error(err)
		return
	}
	stream := ctx.Client.NewStream("/stream/take")
	go func() {
		for i := 0; i < o.Count; i++ {
			if stream.Send(numbered(i, o.Size)) != nil {
				return
			}
		}
		stream.CloseSend()
	}()
	s.keepFirst(stream)
	_ = ctx.Write(nil)
}

// keepFirst reads what the other side sends first, for /stream/pushed.
func (s *streams) keepFirst(stream *arpc.Stream) {
	pushed := make(chan string, 1)
	s.pushed = pushed
	go func() {
		item, _ := next(stream)
		pushed <- item
	}()
}

// awaitPushed answers what the other side sent on that stream: its first item, or EOF.
func (s *streams) awaitPushed(ctx *arpc.Context) { _ = ctx.Write(<-s.pushed) }

func (s *streams) countRuns(ctx *arpc.Context) {
	s.mu.Lock()
	runs := s.runs[string(ctx.Body())]
	s.mu.Unlock()
	_ = ctx.Write(runs)
}

func (s *streams) listRead(ctx *arpc.Context) {
	s.mu.Lock()
	read := append([]string{}, s.read...)
	s.mu.Unlock()
	_ = ctx.Write(read)
}

// numbered is an item of size bytes, at least 8, that both languages make on their own.
func numbered(number, size int) []byte {
	return append([]byte(fmt.Sprintf("%08d", number)), pattern(size-8)...)
}

// --- scenarios: Go opens the streams

func streamScenarios() map[string]func(*arpc.Client) (any, error) {
	return map[string]func(*arpc.Client) (any, error){
		"stream_echo":         streamEcho,
		"stream_pipelined":    streamPipelined,
		"stream_text":         streamText,
		"stream_person":       streamPerson,
		"stream_make":         func(c *arpc.Client) (any, error) { return orderItems(c, order{1000, 64}) },
		"stream_sum":          streamSum,
		"stream_sum_of_none":  streamSumOfNone,
		"stream_greet":        streamGreet,
		"stream_hush":         func(c *arpc.Client) (any, error) { return afterItsEnd(c, "/stream/hush") },
		"stream_last":         func(c *arpc.Client) (any, error) { return afterItsEnd(c, "/stream/last") },
		"stream_empty_items":  streamEmptyItems,
		"stream_many":         streamMany,
		"stream_large":        streamLarge,
		"stream_returns":      func(c *arpc.Client) (any, error) { return lateItems(c, "/stream/returns") },
		"stream_raises":       func(c *arpc.Client) (any, error) { return lateItems(c, "/stream/raises") },
		"stream_unknown":      func(c *arpc.Client) (any, error) { return lateItems(c, "/no/such/stream") },
		"stream_left_by_go":   streamLeft,
		"stream_beside_calls": streamBesideCalls,
	}
}

// text of the next item, or "EOF".
func next(stream *arpc.Stream) (string, error) {
	var item string
	err := stream.Recv(&item)
	if err == io.EOF {
		return "EOF", nil
	}
	return item, err
}

// rest reads to the end.
func rest(stream *arpc.Stream) ([]string, error) {
	items := []string{}
	for {
		item, err := next(stream)
		if err != nil || item == "EOF" {
			return items, err
		}
		items = append(items, item)
	}
}

func streamEcho(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/echo")
	for i := 0; i < 100; i++ {
		item := numbered(i, 100)
		if err := stream.Send(item); err != nil {
			return i, err
		}
		var back []byte
		if err := stream.Recv(&back); err != nil {
			return i, err
		}
		if !bytes.Equal(item, back) {
			return i, fmt.Errorf("another item came back: %q", back)
		}
	}
	stream.CloseSend()
	return next(stream)
}

// streamPipelined sends all it has in one go while it reads what comes back.
func streamPipelined(c *arpc.Client) (any, error) { return echoed(c, 5000, 100) }

func echoed(c *arpc.Client, count, size int) (int, error) {
	stream := c.NewStream("/stream/echo")
	go func() {
		for i := 0; i < count-1; i++ {
			_ = stream.Send(numbered(i, size))
		}
		_ = stream.SendAndClose(numbered(count-1, size))
	}()
	return inOrder(stream, size)
}

// inOrder reads to the end and answers how many items came; an error if they are not 0, 1, 2 ...
func inOrder(stream *arpc.Stream, size int) (int, error) {
	for i := 0; ; i++ {
		var item []byte
		err := stream.Recv(&item)
		if err == io.EOF {
			return i, nil
		}
		if err == nil && !bytes.Equal(item, numbered(i, size)) {
			err = fmt.Errorf("item %d is %d bytes of something else", i, len(item))
		}
		if err != nil {
			return i, err
		}
	}
}

func streamText(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/text")
	if err := stream.SendAndClose("grüß dich ✓"); err != nil {
		return nil, err
	}
	return rest(stream)
}

func streamPerson(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/person")
	var people []Person
	for _, name := range []string{"Ann", "Bob"} {
		var p Person
		if err := stream.Send(&Person{name, 41}); err != nil {
			return people, err
		}
		if err := stream.Recv(&p); err != nil {
			return people, err
		}
		people = append(people, p)
	}
	stream.CloseSend()
	_, err := rest(stream)
	return people, err
}

func orderItems(c *arpc.Client, o order) (any, error) {
	stream := c.NewStream("/stream/make")
	if err := stream.SendAndClose(&o); err != nil {
		return nil, err
	}
	return inOrder(stream, o.Size)
}

func streamSum(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/sum")
	for i := 0; i < 100; i++ {
		if err := stream.Send(i); err != nil {
			return nil, err
		}
	}
	if err := stream.SendAndClose(50); err != nil {
		return nil, err
	}
	return rest(stream)
}

func streamSumOfNone(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/sum")
	stream.CloseSend() // the frame that opens it is the one that ends this half
	return rest(stream)
}

// streamGreet opens a stream by a frame that carries no item.
func streamGreet(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/greet")
	if err := stream.Send([]byte{}); err != nil {
		return nil, err
	}
	items, err := rest(stream)
	stream.CloseSend()
	return items, err
}

// afterItsEnd goes on sending after the other side has ended its half.
func afterItsEnd(c *arpc.Client, method string) (any, error) {
	stream := c.NewStream(method)
	if err := stream.Send("before"); err != nil {
		return nil, err
	}
	items, err := rest(stream)
	if err != nil {
		return nil, err
	}
	for i := 0; i < 100; i++ {
		if err := stream.Send(fmt.Sprint("after ", i)); err != nil {
			return nil, err
		}
	}
	if err := stream.SendAndClose("end"); err != nil {
		return nil, err
	}
	_, err = callString(c) // what was sent before it has arrived
	return items, err
}

func streamEmptyItems(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/text")
	for _, item := range []string{"", "one", "", "", "two", ""} {
		if err := stream.Send(item); err != nil {
			return nil, err
		}
	}
	stream.CloseSend()
	return rest(stream)
}

func streamMany(c *arpc.Client) (any, error) {
	return concurrently(200, func(i int) error {
		count, err := echoed(c, 20+i%7, 50)
		if err == nil && count != 20+i%7 {
			err = fmt.Errorf("%d items of %d came back", count, 20+i%7)
		}
		return err
	})
}

func streamLarge(c *arpc.Client) (any, error) {
	counts := map[string]int{}
	for name, size := range map[string]int{"64 KiB": 1 << 16, "1 MiB": 1 << 20, "16 MiB": 16 << 20} {
		count, err := echoed(c, 2, size)
		if err != nil {
			return counts, fmt.Errorf("%s: %w", name, err)
		}
		counts[name] = count
	}
	return counts, nil
}

// lateItems sends an item, reads until the other side has left, and sends on as if nothing had happened.
func lateItems(c *arpc.Client, method string) (any, error) {
	stream := c.NewStream(method)
	if err := stream.Send("first"); err != nil {
		return nil, err
	}
	items, err := rest(stream)
	if err != nil {
		return nil, err
	}
	for i := 0; i < 100; i++ {
		if err := stream.Send("late"); err != nil {
			return nil, err
		}
	}
	if err := stream.SendAndClose("too late"); err != nil {
		return nil, err
	}
	_, err = callString(c)
	return items, err
}

// streamLeft closes both halves while the other side is sending.
func streamLeft(c *arpc.Client) (any, error) {
	stream := c.NewStream("/stream/make")
	if err := stream.Send(&order{20000, 100}); err != nil {
		return nil, err
	}
	item, err := next(stream)
	if err != nil {
		return nil, err
	}
	go func() { // Go's CloseRecv must not meet an item that is being delivered: somebody has to read on
		_, _ = rest(stream)
	}()
	stream.CloseSend()
	_, err = callString(c)
	return len(item), err
}

func streamBesideCalls(c *arpc.Client) (any, error) {
	results := make(chan error, 2)
	go func() {
		_, err := streamMany(c)
		results <- err
	}()
	go func() {
		_, err := concurrentCalls(c)
		results <- err
	}()
	for i := 0; i < 2; i++ {
		select {
		case err := <-results:
			if err != nil {
				return nil, err
			}
		case <-time.After(patience):
			return nil, errors.New("streams or calls are missing")
		}
	}
	return "both", nil
}
