// The Go arpc load client of the benchmarks: a closed loop of callers over shared connections.
// Every answer is checked, a wrong one is an error. The result is printed as one JSON line.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"arpcbench/workload"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/log"
)

const timeout = 30 * time.Second

// call makes one call; right is false when the answer is not the expected one.
type call func() (right bool, err error)

type result struct {
	Calls   int     `json:"calls"`
	Errors  int     `json:"errors"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
}

// Each caller sends a body of its own, so that an answer to somebody else's call is seen.
func bytesCall(client *arpc.Client, size, caller int) call {
	body := append(bytes.Repeat([]byte{'x'}, size-8), fmt.Sprintf("%08d", caller)...)
	return func() (bool, error) {
		var answer []byte
		err := client.Call(workload.Echo, body, &answer, timeout)
		return bytes.Equal(answer, body), err
	}
}

func jsonCall(client *arpc.Client, noteSize, caller int) call {
	body := &workload.PersonBody{
		Name: fmt.Sprintf("caller %08d", caller),
		Age:  20 + caller%60,
		Tags: []string{"red", "green", "blue"},
		Note: strings.Repeat("n", noteSize),
	}
	expected := *body
	expected.Age++
	return func() (bool, error) {
		var answer workload.PersonBody
		err := client.Call(workload.Person, body, &answer, timeout)
		return answer.Equal(&expected), err
	}
}

var once sync.Once

// loop calls until end and returns the latencies of the calls that ended between start and end, and the number of
// errors. One clock reading a call: a call's latency runs from the end of the caller's one before it.
func loop(call call, start, end time.Time) (latencies []time.Duration, errors int) {
	for began := time.Now(); began.Before(end); {
		right, err := call()
		now := time.Now()
		if err != nil {
			once.Do(func() { fmt.Fprintln(os.Stderr, "a call failed, the first:", err) })
			return latencies, errors + 1
		}
		if !right {
			errors++
		} else if !now.Before(start) && now.Before(end) {
			latencies = append(latencies, now.Sub(began))
		}
		began = now
	}
	return latencies, errors
}

func percentile(sorted []time.Duration, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	index := int(float64(len(sorted)) * part)
	if index >= len(sorted) {
		index = len(sorted) - 1
	}
	return sorted[index].Seconds()
}

func main() {
	address := flag.String("address", "", "tcp://host:port of the server")
	which := flag.String("case", "bytes", "bytes or json")
	size := flag.Int("size", 581, "bytes of the body, or of the note in the JSON body")
	callers := flag.Int("callers", 100, "callers at work at the same time")
	connections := flag.Int("connections", 10, "connections they share")
	seconds := flag.Float64("seconds", 1, "length of the measured window")
	warmup := flag.Float64("warmup", 0.3, "seconds before it")
	sendBuffer := flag.Int("send-buffer", 0, "SetSendBufferSize; 0 keeps arpc's default")
	flag.Parse()

	newCall := map[string]func(*arpc.Client, int, int) call{"bytes": bytesCall, "json": jsonCall}[*which]
	if newCall == nil {
		fmt.Fprintln(os.Stderr, "unknown case:", *which)
		os.Exit(2)
	}
	log.SetLevel(log.LevelNone)
	if *sendBuffer > 0 {
		arpc.SetSendBufferSize(*sendBuffer) // before the clients: each copies the default handler and reads it once
	}
	pool, err := arpc.NewClientPool(func() (net.Conn, error) {
		return net.DialTimeout("tcp", strings.TrimPrefix(*address, "tcp://"), timeout)
	}, *connections)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	start := time.Now().Add(time.Duration(*warmup * float64(time.Second)))
	end := start.Add(time.Duration(*seconds * float64(time.Second)))
	var (
		wait      sync.WaitGroup
		mutex     sync.Mutex
		latencies []time.Duration
		errors    int
	)
	for caller := 0; caller < *callers; caller++ {
		call := newCall(pool.Get(caller), *size, caller)
		wait.Add(1)
		go func() {
			defer wait.Done()
			mine, failed := loop(call, start, end)
			mutex.Lock()
			defer mutex.Unlock()
			latencies = append(latencies, mine...)
			errors += failed
		}()
	}
	wait.Wait()

	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	json.NewEncoder(os.Stdout).Encode(result{
		Calls:   len(latencies),
		Errors:  errors,
		Seconds: *seconds,
		P50:     percentile(latencies, 0.50),
		P99:     percentile(latencies, 0.99),
	})
}
