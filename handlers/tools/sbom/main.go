// Command sbom writes what a binary is made of, as CycloneDX 1.6 in JSON: the
// modules that the linker put in and the standard library, each with version,
// hash and licence. The file does not say when and where the command ran, so that
// the same binary gives the same bytes.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	goversion "go/version"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"hubwatch/handlers/version"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// run writes the list of a binary into a file. It runs in the root of the
// module that the binary was built from.
func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	oldGo := flags.String("old-go", "tell", "`what` to do if the binary was built with an older Go than the toolchain of go.mod: tell or refuse")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *oldGo != "tell" && *oldGo != "refuse" {
		return fmt.Errorf("-old-go %s: want tell or refuse", *oldGo)
	}
	if args = flags.Args(); len(args) != 2 {
		return errors.New("want two arguments: the binary, and the file to write")
	}
	binary, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	folders, err := folders(info.Deps)
	if err != nil {
		return err
	}
	b, err := list(binary, info, folders)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1], append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %d components, %s\n", args[1], len(b.Components), info.GoVersion)
	module, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	if wanted := toolchain.FindSubmatch(module); wanted != nil && goversion.Compare(info.GoVersion, string(wanted[1])) < 0 {
		err := fmt.Errorf("built with %s, and go.mod asks for %s, which has fixed vulnerabilities since: do not deploy it (make audit names them)", info.GoVersion, wanted[1])
		if *oldGo == "refuse" {
			return err
		}
		fmt.Fprintln(stdout, err)
	}
	return nil
}

var toolchain = regexp.MustCompile(`(?m)^toolchain (go\S+)$`)

// folders returns the folders with the sources of modules, by the paths of the
// modules. The sources are on this machine, because the binary was made of them.
func folders(modules []*debug.Module) (map[string]string, error) {
	arguments := []string{"list", "-m", "-json=Path,Version,Dir"}
	for _, m := range modules {
		arguments = append(arguments, m.Path)
	}
	out, err := exec.Command("go", arguments...).Output() // #nosec G204 G702 -- go, with the modules of a binary that was just built, and no shell
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	folders := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Version, Dir string }
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return folders, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		folders[m.Path] = m.Dir
	}
}

// bom is a bill of materials, as far as it is filled in here
// (https://cyclonedx.org/docs/1.6/json/).
type bom struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Type     string    `json:"type"`
	Ref      string    `json:"bom-ref"`
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	Hashes   []hash    `json:"hashes,omitempty"`
	Licences []licence `json:"licenses"`
	PURL     string    `json:"purl"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licence struct {
	Licence struct {
		ID string `json:"id"`
	} `json:"license"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// list returns what a binary is made of. The version of the binary is the version
// of these sources. The hash of the binary identifies the build. folders has the
// sources of its modules. It is an error if a module has no licence that is known
// here, or is replaced by something else.
func list(binary []byte, info *buildinfo.BuildInfo, folders map[string]string) (bom, error) {
	sum := sha256.Sum256(binary)
	id := bytes.Clone(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8, which may be made of anything
	b := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		SerialNumber: fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
	}
	own, err := licenceIn(".")
	if err != nil {
		return bom{}, err
	}
	name := "pkg:golang/" + info.Main.Path + "@v" + version.Version
	b.Metadata.Component = component{
		Type: "application", Ref: name, Name: info.Main.Path, Version: version.Version, PURL: name,
		Hashes: []hash{{"SHA-256", fmt.Sprintf("%x", sum)}}, Licences: own,
	}
	for _, s := range info.Settings {
		b.Metadata.Properties = append(b.Metadata.Properties, property{"go:build:" + s.Key, s.Value})
	}
	top := dependency{Ref: name}
	add := func(c component) {
		c.Type, c.Ref = "library", c.PURL
		b.Components = append(b.Components, c)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
		top.DependsOn = append(top.DependsOn, c.Ref)
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			return bom{}, fmt.Errorf("%s is replaced by %s: the list would name what is not in it", m.Path, m.Replace.Path)
		}
		licences, err := licenceIn(folders[m.Path])
		if err != nil {
			return bom{}, fmt.Errorf("%s: %w", m.Path, err)
		}
		// The hash of a module in go.sum is the hash of a list of its files, with
		// their names and hashes. CycloneDX's own tool for Go writes it in the
		// same way.
		content, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil || len(content) != sha256.Size {
			return bom{}, fmt.Errorf("%s: %q is not a hash", m.Path, m.Sum)
		}
		add(component{
			Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B"),
			Hashes: []hash{{"SHA-256", fmt.Sprintf("%x", content)}}, Licences: licences,
		})
	}
	// Not every installation of Go has its licence: see https://go.dev/LICENSE.
	add(component{
		Name: "stdlib", Version: info.GoVersion, PURL: "pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go"), Licences: licenced("BSD-3-Clause"),
	})
	b.Dependencies = append([]dependency{top}, b.Dependencies...)
	return b, nil
}

func licenced(ids ...string) (list []licence) {
	for _, id := range ids {
		var l licence
		l.Licence.ID = id
		list = append(list, l)
	}
	return list
}

// licenceIn returns the licence in a module's folder.
func licenceIn(folder string) ([]licence, error) {
	files, err := filepath.Glob(filepath.Join(folder, "LICENSE*"))
	files = slices.DeleteFunc(files, func(name string) bool { // LICENSES has texts for single files (https://reuse.software)
		info, err := os.Stat(name)
		return err == nil && info.IsDir()
	})
	if err != nil || folder == "" || len(files) != 1 {
		return nil, fmt.Errorf("%d files with a licence in %q: want one", len(files), folder)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	ids := identify(string(text))
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s is none of the licences that are known here: read whether it may be used, and make it known", files[0])
	}
	return licenced(ids...), nil
}

// identify returns the SPDX identifiers of the licences in a text, in order: parts of a module
// can have a licence of their own. It returns nil if none is known, or one may not be used.
func identify(text string) (ids []string) {
	text = strings.Join(strings.Fields(text), " ")
	for id, sentences := range map[string][]string{
		"MIT":          {"Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files"},
		"Apache-2.0":   {"Apache License Version 2.0, January 2004", "Licensed under the Apache License, Version 2.0"},
		"BSD-2-Clause": {"Redistribution and use in source and binary forms, with or without modification, are permitted"},
	} {
		if !slices.ContainsFunc(sentences, func(sentence string) bool { return strings.Contains(text, sentence) }) {
			continue
		}
		switch {
		case id != "BSD-2-Clause":
		case strings.Contains(text, "All advertising materials"):
			return nil
		case strings.Contains(text, "Neither the name of"):
			id = "BSD-3-Clause"
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
