package hello

import (
	"testing"

	"google.golang.org/protobuf/proto"
)

func TestTheRequestHasTheSizeOfTheSuiteAndItsAnswerIsTold(t *testing.T) {
	request := Request()
	if size := proto.Size(request); size != 581 {
		t.Errorf("%d bytes", size)
	}
	if IsAnswer(request) {
		t.Error("the request is taken for the answer")
	}
	if !IsAnswer(Answer(request)) {
		t.Error("the answer is not known")
	}
}
