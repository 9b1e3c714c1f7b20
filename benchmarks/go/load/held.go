package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"time"
)

// runHold is for benchmarks/memory.py: for each line of standard input it opens so many more streams, sends one item on
// each, and prints how many there are. When standard input is closed they are ended; a stream of which the server has
// not read one item is an error.
func runHold(l Load, conns []Conn) (Result, error) {
	return hold(l, conns, os.Stdin, os.Stdout)
}

func hold(l Load, conns []Conn, lines io.Reader, out io.Writer) (Result, error) {
	cpu, began := cpuSeconds(), time.Now()
	body := Bytes(l.Size, 0)
	var streams []*sent
	for asked := bufio.NewScanner(lines); asked.Scan(); {
		more, err := strconv.Atoi(asked.Text())
		if err != nil {
			return Result{}, err
		}
		for ; more > 0; more-- {
			streamer, ok := conns[len(streams)%len(conns)].(Streamer)
			if !ok {
				return Result{}, errors.New("this system has no streams")
			}
			one := &sent{stream: streamer.Stream(), count: 1}
			if err := one.stream.Send(body); err != nil {
				return Result{}, err
			}
			streams = append(streams, one)
		}
		for _, conn := range conns { // what is called comes after the items
			call, err := conn.Call("bytes", l.Size, 0)
			if err == nil {
				_, err = call()
			}
			if err != nil {
				return Result{}, err
			}
		}
		if err := json.NewEncoder(out).Encode(map[string]int{"streams": len(streams)}); err != nil {
			return Result{}, err
		}
	}
	received, wrong, _, failed := totals(streams)
	return Result{
		Calls:   received,
		Total:   received,
		Errors:  wrong + failed,
		Seconds: time.Since(began).Seconds(),
		CPU:     cpuSeconds() - cpu,
	}, nil
}
