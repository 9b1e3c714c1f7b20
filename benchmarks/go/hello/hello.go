// Package hello is the message of the rpcx suite, what its server answers and the check of the answer.
//
// hello.pb.go is generated, of the protobuf version that go.mod names, which is the last for Go 1.19. In this folder:
//
//	GOBIN=$PWD/../../.build go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.34.1
//	PATH=$PWD/../../.build:$PATH python -m grpc_tools.protoc -I. --go_out=paths=source_relative:. hello.proto
package hello

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const sentence = "许多往事在眼前一幕一幕，变的那麼模糊"

// Request is what every caller sends: each field set but the repeated one, 581 bytes encoded.
func Request() *BenchmarkMessage {
	request := &BenchmarkMessage{}
	message := request.ProtoReflect()
	fields := message.Descriptor().Fields()
	for i := 0; i < fields.Len(); i++ {
		switch field := fields.Get(i); field.Kind() {
		case protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString(sentence))
		case protoreflect.Int32Kind:
			message.Set(field, protoreflect.ValueOfInt32(100_000))
		case protoreflect.Int64Kind:
			message.Set(field, protoreflect.ValueOfInt64(100_000))
		case protoreflect.BoolKind:
			message.Set(field, protoreflect.ValueOfBool(true))
		}
	}
	return request
}

// Answer makes a request what the server answers to it.
func Answer(message *BenchmarkMessage) *BenchmarkMessage {
	message.Field1 = proto.String("OK")
	message.Field2 = proto.Int32(100)
	return message
}

// IsAnswer tells whether an answer is the expected one, as the rpcx suite checks it.
func IsAnswer(message *BenchmarkMessage) bool {
	return message.GetField1() == "OK" && message.GetField2() == 100
}
