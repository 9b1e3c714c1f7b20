package main

import "github.com/lesismal/arpc"

// authenticate calls a method of a server that wants a token: without one, with a wrong one, and with the right one.
func authenticate(c *arpc.Client) (any, error) {
	var steps []string
	refused := func(method string, body any) {
		text := "not refused"
		if err := c.Call(method, body, nil, patience); err != nil {
			text = err.Error()
		}
		steps = append(steps, text)
	}
	refused("/text", "x")
	refused("/auth", map[string]string{"scheme": "bearer", "token": "a-wrong-token-0123456789"})

	var admitted struct {
		Name  string   `json:"name"`
		Roles []string `json:"roles"`
	}
	credential := map[string]string{"scheme": "bearer", "token": "a-token-of-ann-0123456789"}
	if err := c.Call("/auth", credential, &admitted, patience); err != nil {
		return steps, err
	}
	steps = append(steps, admitted.Name)
	steps = append(steps, admitted.Roles...)

	answer, err := callString(c)
	steps = append(steps, answer.(string))
	return steps, err
}
