// Package reliability has the tests of hubwatch's promise: nothing is lost, and
// nothing is stored twice. They run the handler as it is deployed, under
// stand-ins for the Functions host and Event Grid. A proxy before the table makes
// faults. The tests compare the rows with the rows of a run without faults.
// docs/reliability.md says which test proves what.
package reliability
