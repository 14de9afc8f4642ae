// Package version says which version of hubwatch this is.
package version

// Version is the version in the newest heading of docs/changelog.md. It is a
// constant, so that the same sources make the same bytes. The commit of a release
// changes it to a version without a suffix (https://semver.org). The next commit
// raises the version and adds "-dev".
const Version = "0.2.0-dev"
