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

// profiles writes where the time goes, a file for each in folder, which go tool pprof reads: for
// the echo and for hubwatch, while 64 senders ask for what is silent, and for what fires; and for each way to store
// new alerts of 50 hubs, in a service that answers after 2 ms and is part of the same process.
// It makes folder if that is not there.
func profiles(folder string) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	for _, p := range peers[:2] {
		for kind, list := range corpora() {
			if err := p.profileInto(filepath.Join(folder, p.name+"-"+kind+".prof"), list); err != nil {
				return err
			}
		}
	}
	for _, w := range writers {
		if err := w.profileInto(filepath.Join(folder, "storing-"+w.name+".prof")); err != nil {
			return err
		}
	}
	return nil
}

func (w storing) profileInto(file string) error {
	_, connection, stop := startShelf(2 * time.Millisecond)
	defer stop()
	f, err := os.Create(file) // #nosec G304 -- whoever runs the program names the folder
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	_, _, err = store(w, connection, "alerts", 50, false, profileFor)
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

// profileInto writes where the time of a peer goes while 64 senders ask for what is in list.
func (p peer) profileInto(file string, list []request) error {
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
	if err := firstAnswer(port, &list[0], p.constant, begin); err != nil {
		return err
	}
	f, err := flood(port, list, 64, p.constant)
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
