package load

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

// Program is the main function of a program with both sides: `<program> server` and `<program> client`, then flags.
func Program(start func(s Setup) (address string, err error), connect func(address string, l Load) (Conn, error)) {
	side := ""
	if len(os.Args) > 1 {
		side = os.Args[1]
		os.Args = append(os.Args[:1:1], os.Args[2:]...)
	}
	switch side {
	case "server":
		Server(start)
	case "client":
		Client(connect)
	default:
		fmt.Fprintf(os.Stderr, "usage: %s server|client [flags]\n", os.Args[0])
		os.Exit(2)
	}
}

// Server is the main function of a server: it prints the address that start, which must not block, gives, as one JSON
// line, and lets it serve until standard input is closed.
func Server(start func(s Setup) (address string, err error)) {
	setup := setupFlags(flag.CommandLine)
	flag.Parse()
	address, err := start(*setup)
	exitOn(err)
	exitOn(json.NewEncoder(os.Stdout).Encode(map[string]string{"address": address}))
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// Client is the main function of a load client: it prints the Result as one JSON line.
func Client(connect func(address string, l Load) (Conn, error)) {
	address := flag.String("address", "", "what the server printed")
	l := loadFlags(flag.CommandLine)
	flag.Parse()
	result, err := run(*l, func() (Conn, error) { return connect(*address, *l) })
	exitOn(err)
	exitOn(json.NewEncoder(os.Stdout).Encode(result))
	os.Exit(0)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
