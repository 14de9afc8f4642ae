package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// profileFor is how long a profile is taken.
const profileFor = 10 * time.Second

// profile answers with where the time of this process goes from now on.
func profile(w http.ResponseWriter, _ *http.Request) {
	if err := pprof.StartCPUProfile(w); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	time.Sleep(profileFor)
	pprof.StopCPUProfile()
}

// profiles writes, for the echo and for hubwatch, where the time goes while 64 senders ask for
// what is silent: a file for each in folder, which go tool pprof reads.
func profiles(folder string) error {
	for _, p := range peers[:2] {
		if err := p.profileInto(filepath.Join(folder, p.name+".prof")); err != nil {
			return err
		}
	}
	return nil
}

func (p peer) profileInto(file string) error {
	port, control := freePort(), freePort()
	c, err := p.process("", port, control)
	if err != nil {
		return err
	}
	c.Stdout = io.Discard
	begin := time.Now()
	if err := c.Start(); err != nil {
		return err
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	label := p.name != peers[0].name // the limit looks at nothing
	silent := corpora()["silent"]
	if err := firstAnswer(port, &silent[0], label, begin); err != nil {
		return err
	}
	f, err := flood(port, silent, 64, label)
	if err != nil {
		return err
	}
	err = download("http://127.0.0.1:"+control+"/profile", file)
	_, ended := f.stop()
	return errors.Join(err, ended)
}

// download writes what a peer answers into a file.
func download(url, file string) error {
	answer, err := http.Get(url) // #nosec G107 -- this machine
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(url + ": " + answer.Status)
	}
	f, err := os.Create(file) // #nosec G304 -- whoever runs the program names the folder
	if err != nil {
		return err
	}
	_, err = io.Copy(f, answer.Body)
	return errors.Join(err, f.Close())
}
