package load

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const batch = 10 // items between two looks at the clock

// sent is one stream, and what was sent on it.
type sent struct {
	stream  Stream
	body    []byte
	count   int64
	failure error
}

// runItems sends items on every stream without a pause, each by a goroutine of its own; the streams share the
// connections.
func runItems(l Load, conns []Conn) (Result, error) {
	return sendItems(l, conns, false)
}

// runFanIn has a goroutine for each connection, which goes round its streams and sends one item on each: most are idle
// at any time.
func runFanIn(l Load, conns []Conn) (Result, error) {
	return sendItems(l, conns, true)
}

// sendItems counts what the server has read. The rate is that of all items from the opening of the first stream to the
// last answer, warm-up included. A stream that fails is an error and ends its goroutine; so is each item too few or too
// many in the server's count.
func sendItems(l Load, conns []Conn, turns bool) (Result, error) {
	cpu, began := cpuSeconds(), time.Now()
	streams := make([]*sent, l.Callers)
	for number := range streams {
		streamer, ok := conns[number%len(conns)].(Streamer)
		if !ok {
			return Result{}, errors.New("this system has no streams")
		}
		streams[number] = &sent{stream: streamer.Stream(), body: Bytes(l.Size, number)}
	}
	end := time.Now().Add(duration(l.Warmup + l.Seconds))
	var wait sync.WaitGroup
	if turns {
		mine := make([][]*sent, len(conns))
		for number, one := range streams {
			mine[number%len(conns)] = append(mine[number%len(conns)], one)
		}
		for number := range mine {
			wait.Add(1)
			go func(mine []*sent) {
				defer wait.Done()
				sendUntil(end, mine, 1)
			}(mine[number])
		}
	} else {
		for number := range streams {
			wait.Add(1)
			go func(mine []*sent) {
				defer wait.Done()
				sendUntil(end, mine, batch)
			}(streams[number : number+1])
		}
	}
	wait.Wait()
	received, wrong, failure, failed := totals(streams)
	if wrong+failed > 0 {
		fmt.Fprintf(os.Stderr, "%d items lost or doubled, %d failed streams", wrong, failed)
		if failure != nil {
			fmt.Fprintf(os.Stderr, ", one of them: %v", failure)
		}
		fmt.Fprintln(os.Stderr)
	}
	return Result{
		Calls:   received,
		Total:   received,
		Errors:  wrong + failed,
		Seconds: time.Since(began).Seconds(),
		CPU:     cpuSeconds() - cpu,
	}, nil
}

// sendUntil sends so many items on each of these streams in turn, again and again, until end or until one fails.
func sendUntil(end time.Time, mine []*sent, items int64) {
	for time.Now().Before(end) {
		for _, one := range mine {
			for i := int64(0); i < items; i++ {
				if one.failure = one.stream.Send(one.body); one.failure != nil {
					return
				}
			}
			one.count += items
		}
	}
}

// totals ends all streams: the items that the server has read of them, and how many of these are errors; and the
// streams that failed. What is not answered in time has failed.
func totals(streams []*sent) (received, wrong int64, failure error, failed int64) {
	type part struct {
		one   *sent
		total int64
		err   error
	}
	parts := make(chan part, len(streams))
	for _, one := range streams {
		go func(one *sent) {
			if one.failure != nil {
				parts <- part{one, 0, one.failure}
				return
			}
			total, err := one.stream.Total()
			parts <- part{one, total, err}
		}(one)
	}
	late := time.After(patience)
	for left := len(streams); left > 0; left-- {
		select {
		case one := <-parts:
			if one.err != nil {
				failed++
				failure = one.err
				continue
			}
			received += one.total
			if missing := one.one.count - one.total; missing < 0 {
				wrong -= missing
			} else {
				wrong += missing
			}
		case <-late:
			return received, wrong, errors.New("not all streams were answered"), failed + int64(left)
		}
	}
	return received, wrong, failure, failed
}
