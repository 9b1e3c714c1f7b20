package load

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	tick  = time.Millisecond // between two looks at the clock; what is due by then starts
	large = 1 << 20
	most  = 20_000 // calls under way at the same time; one that is due beyond them waits, and its latency goes on
	// patience is how long after the window answers may come.
	patience = 20 * time.Second
)

// runOpen makes calls at l.Rate, whether or not those before them were answered, and echoes of 1 MiB at l.Background,
// spread over the same connections.
//
// Latency runs from the moment at which a call was due, so that what a stall holds up counts in full (no coordinated
// omission). What is not answered in time is an error.
func runOpen(l Load, conns []Conn) (Result, error) {
	if l.Rate <= 0 {
		return Result{}, errors.New("the pattern open needs a rate")
	}
	calls, larges := make([]Call, len(conns)), make([]Call, len(conns))
	for number, conn := range conns {
		var err error
		if calls[number], err = conn.Call(l.Body, l.Size, number); err != nil {
			return Result{}, err
		}
		if l.Background > 0 {
			if larges[number], err = conn.Call("bytes", large, 0); err != nil {
				return Result{}, err
			}
		}
	}
	cpu := cpuSeconds()
	began := time.Now()
	p := &paced{start: began.Add(duration(l.Warmup)), room: make(chan struct{}, most)}
	p.end = p.start.Add(duration(l.Seconds))
	finished := make(chan struct{})
	go func() {
		p.pace(began, l, calls, larges)
		p.running.Wait()
		close(finished)
	}()
	unanswered := false
	select {
	case <-finished:
	case <-time.After(time.Until(p.end.Add(patience))):
		unanswered = true
	}
	cpu = cpuSeconds() - cpu

	p.mutex.Lock() // calls that were given up may still end
	defer p.mutex.Unlock()
	if unanswered { // those, and those never sent
		if missing := int64((l.Rate+l.Background)*p.end.Sub(began).Seconds()) - p.ended; missing > 0 {
			p.errors += missing
		}
	}
	if p.failure != nil {
		fmt.Fprintln(os.Stderr, "calls failed, the first:", p.failure)
	}
	histogram := emptyHistogram()
	for _, latency := range p.latencies {
		record(histogram, latency)
	}
	return Result{
		Calls:     p.calls,
		Total:     p.total,
		Errors:    p.errors,
		Seconds:   l.Seconds,
		CPU:       cpu,
		Histogram: encoded(histogram),
	}, nil
}

// paced is an open loop that runs.
type paced struct {
	start, end time.Time
	room       chan struct{}
	running    sync.WaitGroup

	mutex                       sync.Mutex
	latencies                   []time.Duration
	calls, total, errors, ended int64
	failure                     error
}

// pace starts what is due, until the window ends.
func (p *paced) pace(began time.Time, l Load, calls, larges []Call) {
	due, number := began, 0
	largeDue, largeNumber := began, 0
	for {
		now := time.Now()
		if !now.Before(p.end) && !due.Before(p.end) {
			return
		}
		for !due.After(now) && due.Before(p.end) {
			p.room <- struct{}{}
			p.running.Add(1)
			go p.one(calls[number%len(calls)], due)
			number++
			due = began.Add(duration(float64(number) / l.Rate))
		}
		for l.Background > 0 && !largeDue.After(now) && largeDue.Before(p.end) {
			p.running.Add(1)
			go p.other(larges[largeNumber%len(larges)])
			largeNumber++
			largeDue = began.Add(duration(float64(largeNumber) / l.Background))
		}
		time.Sleep(tick)
	}
}

func (p *paced) one(call Call, due time.Time) {
	defer p.running.Done()
	right, err := call()
	now := time.Now()
	<-p.room
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.ended++
	if !right || err != nil {
		p.failed(err)
		return
	}
	p.total++
	if !now.Before(p.start) && now.Before(p.end) {
		p.calls++
	}
	if !due.Before(p.start) && due.Before(p.end) {
		p.latencies = append(p.latencies, now.Sub(due))
	}
}

func (p *paced) other(call Call) {
	defer p.running.Done()
	right, err := call()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.ended++
	if !right || err != nil {
		p.failed(err)
	}
}

// failed counts a failed call, or a wrong answer where err is nil.
func (p *paced) failed(err error) {
	p.errors++
	if p.failure == nil {
		p.failure = err
	}
}
