package load

import (
	"errors"
	"time"
)

// runNotify sends as many notifies as the senders get rid of until the window ends, then waits for the server's count:
// what counts is what the server has handled. What it does not count in time is an error.
//
// The rate is that of all notifies from the first sent to the last handled; warm-up lengthens it and is not left out.
func runNotify(l Load, conns []Conn) (Result, error) {
	notifiers := make([]Notifier, len(conns))
	for number, conn := range conns {
		notifier, ok := conn.(Notifier)
		if !ok {
			return Result{}, errors.New("this system has no notifies")
		}
		notifiers[number] = notifier
	}
	body := Bytes(l.Size, 0)
	earlier, err := notifiers[0].Received()
	if err != nil {
		return Result{}, err
	}
	cpu, began := cpuSeconds(), time.Now()
	end := began.Add(duration(l.Warmup + l.Seconds))
	sent, err := send(notifiers, l.Callers, body, end)
	if err != nil {
		return Result{}, err
	}
	for {
		received, err := notifiers[0].Received()
		if err != nil {
			return Result{}, err
		}
		received -= earlier
		now := time.Now()
		if received < sent && !now.After(end.Add(patience)) {
			time.Sleep(tick)
			continue
		}
		missing := sent - received
		if missing < 0 {
			missing = -missing
		}
		return Result{
			Calls:   received,
			Total:   received,
			Errors:  missing,
			Seconds: now.Sub(began).Seconds(),
			CPU:     cpuSeconds() - cpu,
		}, nil
	}
}

// send returns how many notifies all senders have sent until end.
func send(notifiers []Notifier, senders int, body []byte, end time.Time) (sent int64, err error) {
	type part struct {
		sent int64
		err  error
	}
	parts := make(chan part, senders)
	for number := 0; number < senders; number++ {
		go func(notifier Notifier) {
			var mine int64
			for time.Now().Before(end) {
				for i := 0; i < 100; i++ {
					if err := notifier.Notify(body); err != nil {
						parts <- part{mine, err}
						return
					}
					mine++
				}
			}
			parts <- part{mine, nil}
		}(notifiers[number%len(notifiers)])
	}
	for number := 0; number < senders; number++ {
		one := <-parts
		sent += one.sent
		if err == nil {
			err = one.err
		}
	}
	return sent, err
}
