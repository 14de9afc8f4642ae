// Package version says which version of hubwatch this is.
package version

// Version is that of the newest heading in docs/changelog.md. It is a constant,
// so that the same sources make the same bytes. A release is a commit that
// changes it to a version without a suffix (https://semver.org); the next commit
// raises it and adds "-dev".
const Version = "0.2.0-dev"
