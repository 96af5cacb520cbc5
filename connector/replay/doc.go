// Package replay uses the recorded topics again, without the Challenge API: what it
// is built of can't write there, and it makes no call at all.
//
// Into writes the results of a window to another topic, for a downstream that is
// rebuilt: with their keys, values, headers and timestamps, and with two headers
// that say where they come from. How far it is stands in the offsets of a consumer
// group of its own, which are committed in the same transaction as what is written.
// So whatever ends a run and whenever, the next one goes on behind it, and a
// reader of committed records sees each result once.
//
// Check runs the recorded requests of a window and the recorded answers of the API
// through today's code and says where the result would be another one.
package replay
