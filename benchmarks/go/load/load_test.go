package load

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// fake is a connection whose calls take a millisecond.
type fake struct {
	answer   func(caller int) (bool, error)
	received *int64
}

func (f fake) Call(body string, size, caller int) (Call, error) {
	return func() (bool, error) {
		time.Sleep(time.Millisecond)
		return f.answer(caller)
	}, nil
}

func (f fake) Notify(body []byte) error {
	atomic.AddInt64(f.received, 1)
	return nil
}

func (f fake) Received() (int64, error) {
	return atomic.LoadInt64(f.received), nil
}

func (f fake) Reverse(l Load) (Result, error) {
	calls := make([]Call, l.Callers)
	for number := range calls {
		calls[number], _ = f.Call(l.Body, l.Size, number)
	}
	return ClosedLoop(calls, l), nil
}

func (f fake) Stream() Stream {
	return &fakeStream{answer: f.answer}
}

// fakeStream asks, at its end, as caller 1: it has failed with an error, and it has lost an item unless that is right.
type fakeStream struct {
	answer func(caller int) (bool, error)
	items  int64
}

func (s *fakeStream) Send(item []byte) error {
	time.Sleep(10 * time.Microsecond)
	s.items++
	return nil
}

func (s *fakeStream) Total() (int64, error) {
	right, err := s.answer(1)
	if !right {
		return s.items - 1, err
	}
	return s.items, err
}

func (f fake) Close() error {
	return nil
}

func runFake(t *testing.T, pattern string, answer func(caller int) (bool, error)) Result {
	t.Helper()
	var received int64
	l := Load{Pattern: pattern, Body: "bytes", Size: 100, Callers: 4, Connections: 2, Seconds: 0.1, Warmup: 0.05, Rate: 500}
	result, err := run(l, func() (Conn, error) { return fake{answer, &received}, nil })
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	return result
}

func TestEveryPatternCountsAndTimesItsCalls(t *testing.T) {
	for _, pattern := range []string{"closed", "open", "connect", "reverse"} {
		result := runFake(t, pattern, func(int) (bool, error) { return true, nil })
		if result.Errors != 0 || result.Calls == 0 || result.Total <= result.Calls || result.Seconds != 0.1 {
			t.Errorf("%s: %+v", pattern, result)
		}
		histogram, err := hdrhistogram.Decode([]byte(result.Histogram))
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		if count := histogram.TotalCount(); count < result.Calls-1 || count > result.Total { // -1: due earlier, answered in it
			t.Errorf("%s: %d latencies of %d calls", pattern, histogram.TotalCount(), result.Calls)
		}
		if median := time.Duration(histogram.ValueAtQuantile(50)) * unit; median < time.Millisecond || median > time.Second {
			t.Errorf("%s: a median of %v", pattern, median)
		}
	}
	if result := runFake(t, "notify", nil); result.Errors != 0 || result.Calls == 0 || result.Histogram != "" {
		t.Errorf("notify: %+v", result)
	}
}

func TestWrongAnswersAndFailedCallsAreErrors(t *testing.T) {
	wrong := runFake(t, "closed", func(caller int) (bool, error) { return caller != 1, nil })
	if wrong.Errors < 2 || wrong.Total < 2*wrong.Errors {
		t.Errorf("one caller of four has wrong answers: %+v", wrong)
	}
	failed := runFake(t, "closed", func(caller int) (bool, error) { return true, map[int]error{2: errors.New("no")}[caller] })
	if failed.Errors != 1 || failed.Total == 0 {
		t.Errorf("one caller of four fails and stops: %+v", failed)
	}
	if open := runFake(t, "open", func(int) (bool, error) { return false, nil }); open.Errors < 50 || open.Total != 0 {
		t.Errorf("every answer is wrong: %+v", open)
	}
}

func TestItemsThatTheServerHasRead(t *testing.T) {
	for _, pattern := range []string{"items", "fan-in"} {
		all := runFake(t, pattern, func(int) (bool, error) { return true, nil })
		if all.Errors != 0 || all.Calls == 0 || all.Total != all.Calls || all.Seconds < 0.15 || all.Histogram != "" {
			t.Errorf("%s: %+v", pattern, all)
		}
		lost := runFake(t, pattern, func(int) (bool, error) { return false, nil })
		if lost.Errors != 4 || lost.Calls == 0 {
			t.Errorf("%s: each of four streams lost an item: %+v", pattern, lost)
		}
		failed := runFake(t, pattern, func(int) (bool, error) { return true, errors.New("no") })
		if failed.Errors != 4 || failed.Calls != 0 {
			t.Errorf("%s: four streams failed: %+v", pattern, failed)
		}
	}
}

func TestStreamsAreHeldUntilTheInputEnds(t *testing.T) {
	var out strings.Builder
	conns := []Conn{fake{answer: func(int) (bool, error) { return true, nil }}, fake{answer: func(int) (bool, error) { return true, nil }}}
	result, err := hold(Load{Size: 100}, conns, strings.NewReader("2\n3\n"), &out)
	if err != nil || result.Calls != 5 || result.Errors != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if out.String() != "{\"streams\":2}\n{\"streams\":5}\n" {
		t.Errorf("it said %q", out.String())
	}
}
