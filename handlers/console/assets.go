package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"time"
)

//go:embed assets templates
var files embed.FS

// assetsPath is where style and script are.
const assetsPath = "/assets/"

// assets are style and script, by name.
type assets map[string]asset

// asset is a file that never changes at its address, because the address has its hash.
type asset struct {
	hash string
	body []byte
}

// loadAssets reads the files that are part of the program.
func loadAssets() assets {
	entries, err := files.ReadDir("assets")
	if err != nil {
		panic(err) // the program is built without them
	}
	all := assets{}
	for _, e := range entries {
		body, err := files.ReadFile(path.Join("assets", e.Name()))
		if err != nil {
			panic(err)
		}
		all[e.Name()] = asset{fmt.Sprintf("%x", sha256.Sum256(body))[:12], body}
	}
	return all
}

// path returns where an asset is.
func (a assets) path(name string) (string, error) {
	found, ok := a[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %s", name)
	}
	return assetsPath + found.hash + "/" + name, nil
}

// serve answers with an asset. The address of an asset that was changed is another, so a
// browser never asks again for what it has.
func (a assets) serve(w http.ResponseWriter, r *http.Request) {
	found, ok := a[r.PathValue("name")]
	if !ok || found.hash != r.PathValue("hash") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("ETag", `"`+found.hash+`"`)
	http.ServeContent(w, r, r.PathValue("name"), time.Time{}, bytes.NewReader(found.body))
}
