// Package workload holds what the server and the load client must agree on.
package workload

const (
	Echo   = "/echo"
	Person = "/person"
)

// PersonBody is the typed JSON body; the server answers it with Age + 1, so that an answer proves that it was decoded.
type PersonBody struct {
	Name string   `json:"name"`
	Age  int      `json:"age"`
	Tags []string `json:"tags"`
	Note string   `json:"note"`
}

func (p *PersonBody) Equal(other *PersonBody) bool {
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
