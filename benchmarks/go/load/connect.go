package load

// runConnect is a closed loop in which every call has a connection of its own, made for it and closed after it.
func runConnect(l Load, dial dial) (Result, error) {
	calls := make([]Call, l.Callers)
	for number := range calls {
		number := number
		calls[number] = func() (bool, error) { return visit(l, dial, number) }
	}
	return ClosedLoop(calls, l), nil
}

func visit(l Load, dial dial, caller int) (right bool, err error) {
	conn, err := dial()
	if err != nil {
		return false, err
	}
	defer func() {
		if closing := conn.Close(); err == nil {
			err = closing
		}
	}()
	call, err := conn.Call(l.Body, l.Size, caller)
	if err != nil {
		return false, err
	}
	return call()
}
