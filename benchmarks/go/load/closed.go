package load

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// runClosed shares the connections among the callers.
func runClosed(l Load, conns []Conn) (Result, error) {
	calls := make([]Call, l.Callers)
	for number := range calls {
		call, err := conns[number%len(conns)].Call(l.Body, l.Size, number)
		if err != nil {
			return Result{}, err
		}
		calls[number] = call
	}
	return ClosedLoop(calls, l), nil
}

// ClosedLoop keeps every caller, of which there is one a Call, at work: it makes its next call when it has the answer
// to the last one. What ends within the window is counted; that, and what was under way at its end, is timed. A wrong
// answer is an error; a caller whose call fails is an error and stops.
func ClosedLoop(calls []Call, l Load) Result {
	cpu := cpuSeconds()
	start := time.Now().Add(duration(l.Warmup))
	end := start.Add(duration(l.Seconds))
	callers := make([]caller, len(calls))
	var wait sync.WaitGroup
	wait.Add(len(calls))
	for number := range calls {
		go func(call Call, c *caller) {
			defer wait.Done()
			c.work(call, start, end)
		}(calls[number], &callers[number])
	}
	wait.Wait()
	result := Result{Seconds: l.Seconds, CPU: cpuSeconds() - cpu}

	histogram := emptyHistogram()
	var wrong, failed int64
	var failure error
	for number := range callers {
		c := &callers[number]
		for _, latency := range c.latencies {
			record(histogram, latency)
		}
		if c.late {
			record(histogram, c.last)
		}
		result.Calls += int64(len(c.latencies))
		result.Total += c.done
		wrong += c.wrong
		if c.failure != nil {
			failed++
			failure = c.failure
		}
	}
	if wrong+failed > 0 {
		fmt.Fprintf(os.Stderr, "%d wrong answers, %d failed calls", wrong, failed)
		if failure != nil {
			fmt.Fprintf(os.Stderr, ", one of them: %v", failure)
		}
		fmt.Fprintln(os.Stderr)
	}
	result.Errors = wrong + failed
	result.Histogram = encoded(histogram)
	return result
}

// caller is what one caller has counted; nothing is shared while the callers work.
type caller struct {
	latencies   []time.Duration
	last        time.Duration // latency of its last call, which was under way at the window's end if it is late
	late        bool
	done, wrong int64
	failure     error
}

// work calls until end. One clock reading a call: a call's latency runs from the end of the caller's one before it. No
// waiting time is left out.
func (c *caller) work(call Call, start, end time.Time) {
	for began := time.Now(); began.Before(end); {
		right, err := call()
		now := time.Now()
		switch {
		case err != nil:
			c.failure = err
			return
		case !right:
			c.wrong++
		default:
			c.done++
			if !now.Before(end) {
				c.last, c.late = now.Sub(began), true
			} else if !now.Before(start) {
				c.latencies = append(c.latencies, now.Sub(began))
			}
		}
		began = now
	}
}
