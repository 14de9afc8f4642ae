package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"hubwatch/handlers/version"
)

const (
	mit    = "MIT License\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy of this software and associated\n documentation files (the \"Software\")"
	apache = "   Apache License\n   Version 2.0, January 2004\n   http://www.apache.org/licenses/"
	bsd    = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided that"
)

func TestIdentify(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"MIT", mit, "MIT"},
		{"Apache", apache, "Apache-2.0"},
		{"BSD with two clauses", bsd, "BSD-2-Clause"},
		{"BSD with three clauses", bsd + "\n * Neither the name of Google LLC nor the names", "BSD-3-Clause"},
		{"BSD with four clauses", bsd + "\n 3. All advertising materials\n 4. Neither the name of", ""},
		{"two in one file", mit + "\n" + apache, "Apache-2.0 MIT"},
		{"Apache, and a part with another", apache + bsd + "\n * Neither the name of Google LLC nor the names", "Apache-2.0 BSD-3-Clause"},
		{"Apache, and a part that may not be used", apache + bsd + "\n 3. All advertising materials", ""},
		{"Apache by its notice", "Licensed under the Apache License, Version 2.0 (the \"License\")", "Apache-2.0"},
		{"another", "GNU GENERAL PUBLIC LICENSE Version 3", ""},
		{"none", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if ids := strings.Join(identify(test.text), " "); ids != test.want {
				t.Errorf("%q, want %q", ids, test.want)
			}
		})
	}
}

const sum = "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// module makes the folder of a module with files of licences, and makes it the
// working directory, because run looks for a licence there too.
func module(t *testing.T, licences map[string]string) map[string]string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range licences {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "LICENSE"), []byte(mit), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(own)
	return map[string]string{"example.com/Module": folder}
}

func info(dep debug.Module) *buildinfo.BuildInfo {
	return &buildinfo.BuildInfo{
		GoVersion: "go1.26.0", Path: "hubwatch/handlers", Main: debug.Module{Path: "hubwatch"}, Deps: []*debug.Module{&dep},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}},
	}
}

func TestList(t *testing.T) {
	folders := module(t, map[string]string{"LICENSE.txt": apache})
	dep := debug.Module{Path: "example.com/Module", Version: "v2.0.0+incompatible", Sum: sum}
	b, err := list([]byte("binary"), info(dep), folders)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"purl":"pkg:golang/example.com/Module@v2.0.0%2Bincompatible"`, `"content":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"`,
		`"licenses":[{"license":{"id":"Apache-2.0"}}]`, `"purl":"pkg:golang/stdlib@1.26.0"`, `{"name":"go:build:GOOS","value":"linux"}`,
		`"name":"hubwatch","version":"` + version.Version + `"`,
		`{"ref":"pkg:golang/hubwatch@v` + version.Version + `","dependsOn":["pkg:golang/example.com/Module@v2.0.0%2Bincompatible","pkg:golang/stdlib@1.26.0"]}`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	other, err := list([]byte("another binary"), info(dep), folders)
	if err != nil || other.SerialNumber == b.SerialNumber {
		t.Errorf("another binary has the same serial number %s (%v)", b.SerialNumber, err)
	}
}

func TestListRefuses(t *testing.T) {
	for _, test := range []struct {
		name     string
		dep      debug.Module
		licences map[string]string
		want     string
	}{
		{"no licence", debug.Module{Sum: sum}, nil, "0 files with a licence"},
		{"two licences", debug.Module{Sum: sum}, map[string]string{"LICENSE": mit, "LICENSE-APACHE": apache}, "2 files with a licence"},
		{"licence not known", debug.Module{Sum: sum}, map[string]string{"LICENSE": "All rights reserved."}, "none of the licences that are known"},
		{"replaced", debug.Module{Replace: &debug.Module{Path: "../fork"}}, map[string]string{"LICENSE": mit}, "replaced by ../fork"},
		{"no hash", debug.Module{}, map[string]string{"LICENSE": mit}, "is not a hash"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.dep.Path, test.dep.Version = "example.com/Module", "v1.0.0"
			if _, err := list(nil, info(test.dep), module(t, test.licences)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	if err := run(nil, nil); err == nil {
		t.Error("no arguments are not refused")
	}
	if err := run([]string{"main_test.go", ""}, nil); err == nil {
		t.Error("a file that is not a binary is not refused")
	}
	if err := run([]string{"-old-go", "ignore", "a", "b"}, nil); err == nil || !strings.Contains(err.Error(), "want tell or refuse") {
		t.Errorf("-old-go ignore: %v", err)
	}
}
