package main

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/lesismal/arpc"
)

// result is one line of the client's output: what Go saw, for Python to judge.
type result struct {
	Scenario string  `json:"scenario"`
	Value    any     `json:"value"`
	Error    string  `json:"error"`
	Seconds  float64 `json:"seconds"`
}

// scenarios are what Go does to Python, by name. An error that the scenario expects is part of its value.
var scenarios map[string]func(*arpc.Client) (any, error)

func init() { // not in the declaration: the service calls scenarios, and some of them call the service
	scenarios = map[string]func(*arpc.Client) (any, error){
		"string":         callString,
		"bytes":          callBytes,
		"nil":            callNil,
		"json":           callJSON,
		"async":          callAsync,
		"notify":         notify,
		"error":          func(c *arpc.Client) (any, error) { return errorText(c, "/fail", "Go did it") },
		"error_empty":    func(c *arpc.Client) (any, error) { return errorText(c, "/fail/empty", nil) },
		"internal_error": func(c *arpc.Client) (any, error) { return errorText(c, "/crash", nil) },
		"not_found":      func(c *arpc.Client) (any, error) { return errorText(c, "/no/such/method", "x") },
		"wrong_body": func(c *arpc.Client) (any, error) {
			return errorText(c, "/person", map[string]any{"name": "Ann", "age": "x"})
		},
		"broken_body":          func(c *arpc.Client) (any, error) { return errorText(c, "/person", `{"name":`) },
		"error_async":          errorAsync,
		"notify_not_found":     notifyNotFound,
		"long_method":          longMethod,
		"handlers":             handlerKinds,
		"bodies":               bodies,
		"concurrent_calls":     concurrentCalls,
		"concurrent_async":     concurrentAsync,
		"concurrent_bodies":    concurrentBodies,
		"ping":                 ping,
		"keepalive":            keepalive,
		"timeout":              timeout,
		"callback":             callback,
		"nested":               nested,
		"concurrent_callbacks": concurrentCallbacks,
		"concurrent_nested":    concurrentNested,
	}
	for name, run := range streamScenarios() {
		scenarios[name] = run
	}
}

// held and reconnect end the connection, authenticate needs a server that asks for it: "all" leaves them out.
var endings = map[string]func(*arpc.Client) (any, error){"held": held, "reconnect": reconnect, "authenticate": authenticate}

func scenarioNames() []string {
	var names []string
	for name := range scenarios {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func runScenario(client *arpc.Client, name string) result {
	run, ok := scenarios[name]
	if !ok {
		run, ok = endings[name]
	}
	if !ok {
		return result{Scenario: name, Error: "no such scenario"}
	}
	start := time.Now()
	value, err := run(client)
	r := result{Scenario: name, Value: value, Seconds: time.Since(start).Seconds()}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func callString(c *arpc.Client) (any, error) {
	var answer string
	err := c.Call("/text", "grüß dich ✓", &answer, patience)
	return answer, err
}

func callBytes(c *arpc.Client) (any, error) {
	var answer []byte
	err := c.Call("/echo", pattern(256), &answer, patience)
	return answer, err
}

func callNil(c *arpc.Client) (any, error) {
	answer := []byte("untouched")
	err := c.Call("/nil", nil, &answer, patience)
	return len(answer), err
}

func callJSON(c *arpc.Client) (any, error) {
	var answer Person
	err := c.Call("/person", &Person{"Ann", 41}, &answer, patience)
	return answer, err
}

// asyncAnswer is what the callback of CallAsync got.
type asyncAnswer struct {
	Text   string `json:"text"`
	Error  string `json:"error"`
	Async  bool   `json:"async"`
	Method string `json:"method"`
}

// async makes a CallAsync and hands its answer to answers.
func async(c *arpc.Client, method string, body any, answers chan<- asyncAnswer) error {
	return c.CallAsync(method, body, func(ctx *arpc.Context, err error) {
		var a asyncAnswer
		if err != nil {
			a.Error = err.Error()
		}
		if ctx != nil { // a timeout has none
			a.Text, a.Async, a.Method = string(ctx.Body()), ctx.Message.IsAsync(), ctx.Message.Method()
		}
		answers <- a
	}, patience)
}

func callAsync(c *arpc.Client) (any, error) {
	answers := make(chan asyncAnswer, 1)
	if err := async(c, "/text", "async", answers); err != nil {
		return nil, err
	}
	return <-answers, nil
}

func errorAsync(c *arpc.Client) (any, error) {
	answers := make(chan asyncAnswer, 1)
	if err := async(c, "/fail", "async", answers); err != nil {
		return nil, err
	}
	return <-answers, nil
}

// notify sends 100 notifies and asks what came of them.
func notify(c *arpc.Client) (any, error) {
	for i := 0; i < 100; i++ {
		if err := c.Notify("/note", fmt.Sprint("note ", i), patience); err != nil {
			return nil, err
		}
	}
	var notes []string
	err := c.Call("/notes", nil, &notes, patience)
	return notes, err
}

// errorText makes a call that must fail and then one that must not.
func errorText(c *arpc.Client, method string, body any) (any, error) {
	err := c.Call(method, body, nil, patience)
	if err == nil {
		return nil, errors.New("the call did not fail")
	}
	_, after := callString(c)
	return err.Error(), after
}

func notifyNotFound(c *arpc.Client) (any, error) {
	if err := c.Notify("/no/such/method", "x", patience); err != nil {
		return nil, err
	}
	return callString(c)
}

func longMethod(c *arpc.Client) (any, error) {
	var answer string
	err := c.Call("/"+strings.Repeat("m", arpc.MaxMethodLen-1), "long", &answer, patience)
	return answer, err
}

// handlerKinds calls one handler of each kind that Python has.
func handlerKinds(c *arpc.Client) (any, error) {
	answers := map[string]string{}
	for _, method := range []string{"/echo", "/inline/echo", "/threaded/echo", "/ordered/echo"} {
		var answer string
		if err := c.Call(method, "to "+method, &answer, patience); err != nil {
			return answers, fmt.Errorf("%s: %w", method, err)
		}
		answers[method] = answer
	}
	return answers, nil
}

// bodies sends and gets bodies of growing sizes and answers the sizes that came back unharmed.
func bodies(c *arpc.Client) (any, error) {
	var unharmed []int
	for _, size := range []int{0, 1, 255, 256, 65535, 65536, 1 << 20, 16 << 20} {
		if err := exchange(c, pattern(size)); err != nil {
			return unharmed, err
		}
		unharmed = append(unharmed, size)
	}
	return unharmed, nil
}

func exchange(c *arpc.Client, body []byte) error {
	var answer []byte
	if err := c.Call("/echo", body, &answer, patience); err != nil {
		return fmt.Errorf("%d bytes: %w", len(body), err)
	}
	if !bytes.Equal(body, answer) {
		return fmt.Errorf("%d bytes: another body of %d bytes came back", len(body), len(answer))
	}
	return nil
}

// concurrently runs work n times at once and answers how many succeeded, and the first error.
func concurrently(n int, work func(i int) error) (any, error) {
	errs := make(chan error, n)
	for i := 0; i < n; i++ {
		go func(i int) { errs <- work(i) }(i)
	}
	var first error
	succeeded := 0
	for i := 0; i < n; i++ {
		if err := <-errs; err == nil {
			succeeded++
		} else if first == nil {
			first = err
		}
	}
	return succeeded, first
}

func concurrentCalls(c *arpc.Client) (any, error) {
	return concurrently(1000, func(i int) error { return exchange(c, []byte(fmt.Sprint("call ", i))) })
}

func concurrentBodies(c *arpc.Client) (any, error) {
	return concurrently(8, func(i int) error { return exchange(c, pattern(1<<20+i)) })
}

func concurrentAsync(c *arpc.Client) (any, error) {
	const n = 1000
	answers := make(chan asyncAnswer, n)
	for i := 0; i < n; i++ {
		if err := async(c, "/echo", fmt.Sprint("async ", i), answers); err != nil {
			return nil, err
		}
	}
	distinct := map[string]bool{}
	for i := 0; i < n; i++ {
		a := <-answers
		if a.Error != "" || !a.Async {
			return nil, fmt.Errorf("unexpected answer %+v", a)
		}
		distinct[a.Text] = true
	}
	return len(distinct), nil
}

// ping answers the frames with which the other side answered three pings.
func ping(c *arpc.Client) (any, error) {
	before := len(tapOf(c).pongsSeen())
	for i := 0; i < 3; i++ {
		c.Ping()
	}
	return pongsAfter(c, before, 3)
}

func pongsAfter(c *arpc.Client, before, count int) (any, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if pongs := tapOf(c).pongsSeen()[before:]; len(pongs) >= count {
			return pongs[:count], nil
		}
	}
	return tapOf(c).pongsSeen()[before:], errors.New("pongs are missing")
}

// keepalive pings every 5 ms, with calls in between. Go ends it only with the client.
func keepalive(c *arpc.Client) (any, error) {
	before := len(tapOf(c).pongsSeen())
	c.Keepalive(5 * time.Millisecond)
	if _, err := concurrentCalls(c); err != nil {
		return nil, err
	}
	return pongsAfter(c, before, 3)
}

// timeout gives up on a held call, has it answered late and goes on.
func timeout(c *arpc.Client) (any, error) {
	err := c.Call("/hold", nil, nil, 100*time.Millisecond)
	if err == nil {
		return nil, errors.New("the call did not time out")
	}
	var released int
	if err := c.Call("/release", nil, &released, patience); err != nil {
		return nil, err
	}
	if _, err := callString(c); err != nil {
		return nil, err
	}
	return map[string]any{"error": err.Error(), "released": released}, nil
}

func addUp(c *arpc.Client, a, b int) (int, error) {
	var sum int
	err := c.Call("/whoami", &Sum{a, b}, &sum, patience)
	return sum, err
}

func callback(c *arpc.Client) (any, error) { return addUp(c, 20, 22) }

func steps(c *arpc.Client, n int) ([]string, error) {
	var answer []string
	err := c.Call("/countdown", n, &answer, patience)
	return answer, err
}

func nested(c *arpc.Client) (any, error) { return steps(c, 6) }

func concurrentCallbacks(c *arpc.Client) (any, error) {
	return concurrently(200, func(i int) error {
		sum, err := addUp(c, i, 1000)
		if err == nil && sum != i+1000 {
			err = fmt.Errorf("%d + 1000 = %d", i, sum)
		}
		return err
	})
}

func concurrentNested(c *arpc.Client) (any, error) {
	return concurrently(200, func(i int) error {
		answer, err := steps(c, 3)
		if err == nil && len(answer) != 4 {
			err = fmt.Errorf("unexpected steps %q", answer)
		}
		return err
	})
}

// held waits for an answer that the other side never gives; the error says how Go saw the connection end.
func held(c *arpc.Client) (any, error) {
	err := c.Call("/hold", nil, nil, patience)
	if err == nil {
		return nil, errors.New("the call did not fail")
	}
	return err.Error(), nil
}

// reconnect has the other side close the connection; Go's client then dials again on its own.
func reconnect(c *arpc.Client) (any, error) {
	before := dials.Load()
	if err := c.Notify("/close", nil, patience); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if dials.Load() == before {
			continue
		}
		if answer, err := callString(c); err == nil { // else: dialled, but not yet in use
			return answer, nil
		}
	}
	return nil, errors.New("no new connection")
}
