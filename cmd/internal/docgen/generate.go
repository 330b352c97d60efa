package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

// Folders that belong to this program: whatever else lies in them is taken away.
const (
	commandsDir = "docs/commands"
	manDir      = "docs/man"
)

// generate makes the text of every page, by path from the top of the checkout.
func generate(ctx context.Context, top string) (map[string][]byte, error) {
	programs, err := programs(top)
	if err != nil {
		return nil, err
	}
	pages := map[string][]byte{}
	var all []cli.Description
	for _, name := range programs {
		d, err := describe(ctx, top, name)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
		pages[path.Join(commandsDir, name+".md")] = markdown(d)
		pages[path.Join(manDir, fmt.Sprintf("%s.%d", name, section(name)))] = man(d)
	}
	pages[path.Join(commandsDir, "README.md")] = index(all)
	return pages, nil
}

// programs are the folders of cmd that hold a program.
func programs(top string) ([]string, error) {
	mains, err := filepath.Glob(filepath.Join(top, "cmd", "*", "main.go"))
	if err != nil {
		return nil, fmt.Errorf("look for programs: %v", err)
	}
	var names []string
	for _, m := range mains {
		names = append(names, filepath.Base(filepath.Dir(m)))
	}
	slices.Sort(names)
	return names, nil
}

// describe asks a program to describe itself.
func describe(ctx context.Context, top, name string) (cli.Description, error) {
	var d cli.Description
	cmd := exec.CommandContext(ctx, "go", "run", "./cmd/"+name, "docs")
	cmd.Dir = top
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return d, fmt.Errorf("%s docs: %v\n%s", name, err, stderr.Bytes())
	}
	if err := json.Unmarshal(out, &d); err != nil {
		return d, fmt.Errorf("%s docs: %v", name, err)
	}
	return d, nil
}

// section is the one of the manual that a program belongs to: daemons are in 8, as their units say.
func section(name string) int {
	if name == "warren-agent" || name == "warren-controller" {
		return 8
	}
	return 1
}

// write puts the pages into their folders and removes what is no page of today.
func write(top string, pages map[string][]byte) error {
	for _, dir := range []string{commandsDir, manDir} {
		dir := filepath.Join(top, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		stale, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range stale {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(top, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// flatten lists a command and all below it, in the order in which a reader meets them.
func flatten(d cli.Description) []cli.Description {
	out := []cli.Description{d}
	for _, sub := range d.Commands {
		out = append(out, flatten(sub)...)
	}
	return out
}

// sentence ends a short description with a full stop.
func sentence(s string) string { return strings.TrimSuffix(s, ".") + "." }
