package load

import (
	"fmt"
	"math/rand"
	"strings"
)

// Names of the methods, for systems whose methods have free names.
const (
	EchoMethod   = "/echo"
	PersonMethod = "/person"
	SayMethod    = "Hello.Say"
)

// Bytes is the body of bytes; each caller has its own, so that an answer to somebody else's call is seen.
func Bytes(size, caller int) []byte {
	suffix := fmt.Sprintf("%08d", caller)
	if size <= len(suffix) {
		return []byte(suffix)
	}
	body := make([]byte, size-len(suffix), size)
	rand.New(rand.NewSource(int64(size))).Read(body) // no compression makes it less
	return append(body, suffix...)
}

// Person is the typed JSON body; the server answers it one year older, so that an answer proves that it was decoded.
type Person struct {
	Name string   `json:"name"`
	Age  int      `json:"age"`
	Tags []string `json:"tags"`
	Note string   `json:"note"`
}

// NewPerson is what a caller sends.
func NewPerson(noteSize, caller int) *Person {
	return &Person{
		Name: fmt.Sprintf("caller %08d", caller),
		Age:  20 + caller%60,
		Tags: []string{"red", "green", "blue"},
		Note: strings.Repeat("n", noteSize),
	}
}

// Older is what the server answers to it.
func (p *Person) Older() *Person {
	older := *p
	older.Age++
	return &older
}

// Equal tells whether an answer is the expected one.
func (p *Person) Equal(other *Person) bool {
	if p.Name != other.Name || p.Age != other.Age || p.Note != other.Note || len(p.Tags) != len(other.Tags) {
		return false
	}
	for i, tag := range p.Tags {
		if tag != other.Tags[i] {
			return false
		}
	}
	return true
}
