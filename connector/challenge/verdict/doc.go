// Package verdict says what the end of a call to the Challenge API means: its
// class, and the outcome and the error that a request's result tells of it.
//
// It is pure: it makes no call, and what is built of it can't write to the API.
// So a replay judges recorded answers by the very code that judges live ones.
package verdict
