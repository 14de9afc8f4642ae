// Package reliability has the tests that hold hubwatch to its promise: nothing
// lost, nothing twice. They run the handler as it is deployed, under stand-ins
// for the Functions host and Event Grid, with a proxy that makes faults before
// the table, and compare the rows with those of a run without any fault.
// docs/reliability.md says which test proves what.
package reliability
