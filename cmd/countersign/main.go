// Command countersign is the whole of Countersign in one program: the connector
// with and without a host, the plugin that a host loads, the tools to send
// requests and to read results, and the emulator to try it all without an
// account.
//
// Every command documents itself: countersign help COMMAND.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
