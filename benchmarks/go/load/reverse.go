package load

import (
	"errors"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// runReverse has the server run its part of the callers as a closed loop on each connection, all at the same time.
func runReverse(l Load, conns []Conn) (Result, error) {
	share := l
	share.Pattern, share.Connections = "closed", 1
	if share.Callers = l.Callers / l.Connections; share.Callers < 1 {
		share.Callers = 1
	}
	reversers := make([]Reverser, len(conns))
	for number, conn := range conns {
		reverser, ok := conn.(Reverser)
		if !ok {
			return Result{}, errors.New("this system has no calls from the server")
		}
		reversers[number] = reverser
	}
	type part struct {
		result Result
		err    error
	}
	parts := make(chan part, len(reversers))
	cpu := cpuSeconds()
	for _, reverser := range reversers {
		go func(reverser Reverser) {
			result, err := reverser.Reverse(share)
			parts <- part{result, err}
		}(reverser)
	}
	all := make([]Result, 0, len(reversers))
	for range reversers {
		one := <-parts
		if one.err != nil {
			return Result{}, one.err
		}
		all = append(all, one.result)
	}
	result := Result{Seconds: l.Seconds, CPU: cpuSeconds() - cpu}
	histogram := emptyHistogram()
	for _, one := range all {
		result.Calls += one.Calls
		result.Total += one.Total
		result.Errors += one.Errors
		if one.Histogram != "" {
			latencies, err := hdrhistogram.Decode([]byte(one.Histogram))
			if err != nil {
				return Result{}, err
			}
			histogram.Merge(latencies)
		}
	}
	result.Histogram = encoded(histogram)
	return result, nil
}
