// Package architecture holds no code, only tests: they check the rules that no
// single package can check for itself. Who may import whom, what only one
// package may know, how long a file may be, and what the sources must not hold.
//
// A failing test here means either a slip or a decision. A decision changes the
// table in the test, in the same commit, and where it changes the shape of the
// whole, it gets a record in docs/adr.
package architecture
