package main

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"sync"

	"github.com/lesismal/arpc"
)

// tap reads for one connection and remembers the first frame, the pongs, and what kinds of frames have come: arpc
// shows none of these to its users.
type tap struct {
	source io.Reader

	mu     sync.Mutex
	frame  []byte // what has arrived of the current frame, without the data of frames that are not remembered
	rest   int    // bytes of the current frame's body that are still to come
	frames int
	first  string
	pongs  []string
	seen   summary
}

// summary is what all frames of a connection were together.
type summary struct {
	Frames   int `json:"frames"`
	Commands int `json:"commands"` // bit n: command n has come
	Reserved int `json:"reserved"` // every reserved bit that was set
	Flags    int `json:"flags"`    // every flag bit that was set
}

func newTap(conn net.Conn) io.Reader {
	return &tap{source: bufio.NewReaderSize(conn, 8192)}
}

func tapOf(client *arpc.Client) *tap { return client.Reader.(*tap) }

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.source.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	for read := p[:n]; len(read) > 0; {
		read = t.take(read)
	}
	return n, err
}

// take consumes the part of read that belongs to the current frame.
func (t *tap) take(read []byte) []byte {
	if len(t.frame) < arpc.HeadLen {
		n := smaller(arpc.HeadLen-len(t.frame), len(read))
		t.frame = append(t.frame, read[:n]...)
		read = read[n:]
		if len(t.frame) == arpc.HeadLen {
			t.rest = arpc.Header(t.frame).BodyLen()
		}
	} else {
		n := smaller(t.rest, len(read))
		t.rest -= n
		if t.frames == 0 || t.isPong() {
			t.frame = append(t.frame, read[:n]...)
		}
		read = read[n:]
	}
	if len(t.frame) >= arpc.HeadLen && t.rest == 0 {
		t.done()
	}
	return read
}

func (t *tap) isPong() bool { return t.frame[arpc.HeaderIndexCmd] == arpc.CmdPong }

func (t *tap) done() {
	if t.frames == 0 {
		t.first = hex.EncodeToString(t.frame)
	}
	if t.isPong() {
		t.pongs = append(t.pongs, hex.EncodeToString(t.frame))
	}
	t.frames++
	t.note()
	t.frame = t.frame[:0]
}

// note adds the frame that has come to the summary.
func (t *tap) note() {
	t.seen.Commands |= 1 << (t.frame[arpc.HeaderIndexCmd] & arpc.HeaderCmdBitMask)
	t.seen.Reserved |= int(t.frame[arpc.HeaderIndexReserved])
	t.seen.Flags |= int(t.frame[arpc.HeaderIndexFlag])
}

func (t *tap) summary() summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.Frames = t.frames
	return t.seen
}

func (t *tap) firstFrame() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first
}

func (t *tap) pongsSeen() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.pongs...)
}

// smaller is min, which Go has since 1.21: Debian 12 comes with 1.19.
func smaller(a, b int) int {
	if a < b {
		return a
	}
	return b
}
