// Package infra has the tests of what is deployed and how: the Bicep templates
// of the folder infra, the package for Azure, the commands that the README and
// the workflows run, and the filters of the event subscriptions. The package has
// no other code.
package infra
