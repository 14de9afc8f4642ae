// Command zip packs the app as Azure Functions takes it. The same files always
// make the same bytes, so that two packages of the same source can be compared.
package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "zip:", err)
		os.Exit(1)
	}
}

// run packs a folder into a file and prints the size and the hash of the file.
func run(args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("want two arguments: the folder of the app, and the file to write")
	}
	packed, err := pack(args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := os.WriteFile(args[1], packed, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %d bytes  SHA-256 %x\n", args[1], len(packed), sha256.Sum256(packed))
	return nil
}

// epoch is the time of every file in the package: the earliest that the format
// can express.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack returns a folder as a zip file, in order of the names. Only the file that
// host.json names as the executable has permission to be executed, as in a
// package of func (Azure/azure-functions-core-tools, ZipHelper). It is an error
// if that file is missing, or if the folder has something that must not be
// deployed: local settings, hidden files, links.
func pack(folder string) ([]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	app := root.FS()
	executable, err := executable(app)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	found := false
	err = fs.WalkDir(app, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		switch {
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is not a file", name)
		case entry.Name() == "local.settings.json":
			return fmt.Errorf("%s is for this machine and may hold secrets", name)
		case strings.HasPrefix(name, ".") || strings.Contains(name, "/."):
			return fmt.Errorf("%s is hidden: it is hardly meant to be deployed", name)
		}
		content, err := fs.ReadFile(app, name)
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
		header.SetMode(0o644)
		if name == executable {
			found = true
			header.SetMode(0o755)
		}
		file, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		_, err = file.Write(content)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("there is no %s, which host.json names as the executable", executable)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// executable returns the name that host.json gives the handler. The host makes a
// path of the name. func compares the name with names in the package. So it has
// to be the plain name.
func executable(app fs.FS) (string, error) {
	content, err := fs.ReadFile(app, "host.json")
	if err != nil {
		return "", err
	}
	var host struct {
		CustomHandler struct {
			Description struct {
				Executable string `json:"defaultExecutablePath"`
			} `json:"description"`
		} `json:"customHandler"`
	}
	if err := json.Unmarshal(content, &host); err != nil {
		return "", fmt.Errorf("host.json: %w", err)
	}
	name := host.CustomHandler.Description.Executable
	if name == "" || name != filepath.ToSlash(filepath.Clean(name)) || !filepath.IsLocal(name) {
		return "", fmt.Errorf("host.json: defaultExecutablePath is %q: want the plain name of a file, without ./", name)
	}
	return name, nil
}
