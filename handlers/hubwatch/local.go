package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// localFile is the file of settings that make run writes, relative to the root of the
// repository. Each line is a name, "=" and a value.
const localFile = "build/local.env"

// readLocal returns the settings of make run. It looks beside this program, which make
// puts into the folder build, and then in the working directory. Its error says what to
// do if make run is not running.
func readLocal() (map[string]string, error) {
	paths := []string{localFile}
	if program, err := os.Executable(); err == nil {
		paths = []string{filepath.Join(filepath.Dir(program), filepath.Base(localFile)), localFile}
	}
	for _, path := range paths {
		text, err := os.ReadFile(path) // #nosec G304 -- a name of our own, beside this program
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("local: %w", err)
		}
		settings := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
			settings[name] = value
		}
		if settings[storageSetting] == "" {
			return nil, fmt.Errorf("local: %s has no %s: start make run again", path, storageSetting)
		}
		return settings, nil
	}
	return nil, fmt.Errorf("local: there is no %s: start make run in the root of the repository, in another terminal, and leave it running", localFile)
}
