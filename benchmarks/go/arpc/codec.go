package main

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// protobufCodec takes the place of arpc's JSON.
type protobufCodec struct{}

func (protobufCodec) Marshal(v interface{}) ([]byte, error) {
	message, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no protobuf message", v)
	}
	return proto.Marshal(message)
}

func (protobufCodec) Unmarshal(data []byte, v interface{}) error {
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no protobuf message", v)
	}
	return proto.Unmarshal(data, message)
}
