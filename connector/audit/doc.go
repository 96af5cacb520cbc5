// Package audit proves from the topics what became of each request.
//
// Run joins the requests of a window with the results and dead letters that answer
// them, by coordinates, and reports what is missing, there twice, contradictory,
// late, without a request or not to be told any more. It reads and never writes,
// and it is built without anything that could call more of the Challenge API than
// its GET requests.
//
// A report carries a digest of the records that it covers: a hash tree for each
// partition, as RFC 6962 has it. So it can be made again and compared.
package audit
