// Package load is what every benchmark program in Go shares: its options, the patterns of load and the result.
// benchmarks/workload.py and benchmarks/loads say the same for Python.
//
// A program is a main function that defines flags of its own, if it has any, and calls Program with two functions:
// one that serves and one that makes a connection. `<program> server` and `<program> client` run the two sides.
package load

import (
	"flag"
	"time"
)

// Timeout of one call.
const Timeout = 30 * time.Second

// Setup is how a server is started.
type Setup struct {
	Body  string  // that it has to answer: bytes, json or say
	Delay float64 // seconds that each handler sleeps before it answers
}

// Sleep is what a handler does before it answers.
func (s Setup) Sleep() {
	if s.Delay > 0 {
		time.Sleep(duration(s.Delay))
	}
}

// Load is one measurement: callers at work over connections for seconds, after warm-up seconds that do not count.
type Load struct {
	Pattern     string  `json:"pattern"`
	Body        string  `json:"body"`
	Size        int     `json:"size"`
	Callers     int     `json:"callers"`
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	Warmup      float64 `json:"warmup"`
	Delay       float64 `json:"delay"`
	Rate        float64 `json:"rate"`
	Background  float64 `json:"background"`
}

// Call makes one call, of one caller, with one body, again and again; right is false when the answer is not the
// expected one. The open loop runs the same Call many times at once.
type Call func() (right bool, err error)

// Conn is one connection to a server.
type Conn interface {
	// Call makes the Call of one caller: body is bytes, json or say, size the bytes of it or of the JSON's note.
	Call(body string, size, caller int) (Call, error)
	Close() error
}

// Notifier is a Conn that can send without being answered, for the pattern notify.
type Notifier interface {
	Notify(body []byte) error
	Received() (int64, error) // notifies that the server has handled, on all connections
}

// Reverser is a Conn over which the server can call, for the pattern reverse.
type Reverser interface {
	Reverse(l Load) (Result, error) // of the server's ClosedLoop on this connection
}

// Streamer is a Conn that can open streams to the server, for the patterns items, fan-in and hold.
type Streamer interface {
	Stream() Stream
}

// Stream is one whose items the server's handler counts.
type Stream interface {
	Send(item []byte) error // waits while there is no room for it
	Total() (int64, error)  // ends it; the items that the server has read
}

func setupFlags(flags *flag.FlagSet) *Setup {
	s := &Setup{}
	flags.StringVar(&s.Body, "body", "bytes", "the body to answer: bytes, json or say")
	flags.Float64Var(&s.Delay, "delay", 0, "seconds that each handler sleeps before it answers")
	return s
}

func loadFlags(flags *flag.FlagSet) *Load {
	l := &Load{}
	flags.StringVar(&l.Pattern, "pattern", "closed", "closed, open, notify, reverse, connect, items, fan-in or hold")
	flags.StringVar(&l.Body, "body", "bytes", "bytes, json or say")
	flags.IntVar(&l.Size, "size", 581, "bytes of the body, or of the note in the JSON body")
	flags.IntVar(&l.Callers, "callers", 100, "callers at work at the same time")
	flags.IntVar(&l.Connections, "connections", 10, "connections they share")
	flags.Float64Var(&l.Seconds, "seconds", 1, "length of the measured window")
	flags.Float64Var(&l.Warmup, "warmup", 0.3, "seconds before it")
	flags.Float64Var(&l.Delay, "delay", 0, "seconds that the server's handlers sleep")
	flags.Float64Var(&l.Rate, "rate", 0, "calls a second, for the pattern open")
	flags.Float64Var(&l.Background, "background", 0, "1 MiB echoes a second beside them, for the pattern open")
	return l
}

func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}
