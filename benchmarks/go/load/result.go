package load

import (
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result of one load, see benchmarks/workload.py.
type Result struct {
	Calls     int64   `json:"calls"`     // that ended well within the window
	Total     int64   `json:"total"`     // that ended well at all, warm-up included
	Errors    int64   `json:"errors"`    // failed calls and wrong answers
	Seconds   float64 `json:"seconds"`   // length of the window
	CPU       float64 `json:"cpu"`       // CPU seconds of this process from the first call to the last
	Histogram string  `json:"histogram"` // latencies of the calls, see benchmarks/histogram.py
}

const (
	unit    = 100 * time.Nanosecond
	highest = 600_000_000
	digits  = 3
)

func emptyHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, highest, digits)
}

func record(histogram *hdrhistogram.Histogram, latency time.Duration) {
	units := int64(latency / unit)
	if units < 1 {
		units = 1
	}
	if units > highest {
		units = highest
	}
	_ = histogram.RecordValue(units) // it fails beyond the limits only
}

func encoded(histogram *hdrhistogram.Histogram) string {
	text, err := histogram.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it writes to memory: there is nothing that could fail
	}
	return string(text)
}

// cpuSeconds are those that this process has used so far.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
