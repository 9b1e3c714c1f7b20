package main

import (
	"bytes"
	"compress/gzip"
	"io"

	"github.com/lesismal/arpc"
)

// compressor is a gzip coder with this threshold. The arpc module that this program uses has none any more; gocoders
// tests the original one, which knows no streams.
type compressor int

const (
	gzipBit = 7
	hidden  = arpc.HeaderIndexCmd // from here on a frame is compressed
)

// Encode compresses a frame where that makes it smaller.
func (c compressor) Encode(_ *arpc.Client, message *arpc.Message) *arpc.Message {
	if len(message.Buffer) <= int(c) {
		return message
	}
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(message.Buffer[hidden:])
	_ = writer.Close()
	if hidden+packed.Len() < len(message.Buffer) {
		replace(message, packed.Bytes(), true)
	}
	return message
}

// Decode undoes that.
func (c compressor) Decode(_ *arpc.Client, message *arpc.Message) *arpc.Message {
	if !message.IsFlagBitSet(gzipBit) {
		return message
	}
	reader, err := gzip.NewReader(bytes.NewReader(message.Buffer[hidden:]))
	if err != nil {
		return message
	}
	if plain, err := io.ReadAll(reader); err == nil {
		replace(message, plain, false)
	}
	return message
}

func replace(message *arpc.Message, rest []byte, compressed bool) {
	message.Buffer = append(append([]byte{}, message.Buffer[:hidden]...), rest...)
	_ = message.SetFlagBit(gzipBit, compressed)
	message.SetBodyLen(len(message.Buffer) - arpc.HeadLen)
}
