package load

import "fmt"

// dial makes one more connection.
type dial func() (Conn, error)

func run(l Load, dial dial) (Result, error) {
	if l.Callers < 1 || l.Connections < 1 {
		return Result{}, fmt.Errorf("%d callers over %d connections: needs one at least", l.Callers, l.Connections)
	}
	switch l.Pattern {
	case "closed":
		return onConnections(l, dial, runClosed)
	case "open":
		return onConnections(l, dial, runOpen)
	case "notify":
		return onConnections(l, dial, runNotify)
	case "reverse":
		return onConnections(l, dial, runReverse)
	case "items":
		return onConnections(l, dial, runItems)
	case "fan-in":
		return onConnections(l, dial, runFanIn)
	case "hold":
		return onConnections(l, dial, runHold)
	case "connect":
		return runConnect(l, dial)
	}
	return Result{}, fmt.Errorf("there is no pattern %q", l.Pattern)
}

// onConnections runs a pattern on connections that stay.
func onConnections(l Load, dial dial, pattern func(Load, []Conn) (Result, error)) (Result, error) {
	var conns []Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	for len(conns) < l.Connections {
		conn, err := dial()
		if err != nil {
			return Result{}, err
		}
		conns = append(conns, conn)
	}
	return pattern(l, conns)
}
