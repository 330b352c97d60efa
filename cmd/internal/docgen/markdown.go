package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

const generated = "<!-- Written by cmd/internal/docgen from the program: change that, run `make docs`. -->\n\n"

// index is the page that leads to all others.
func index(all []cli.Description) []byte {
	var b bytes.Buffer
	b.WriteString(generated + "# Commands\n\n| program | does |\n|---|---|\n")
	for _, d := range all {
		fmt.Fprintf(&b, "| [`%s`](%[1]s.md) | %s |\n", d.Path, d.Short)
	}
	return b.Bytes()
}

// markdown is the page of a program: all its commands, each below a heading of its own.
func markdown(d cli.Description) []byte {
	var b bytes.Buffer
	b.WriteString(generated)
	all := flatten(d)
	for i, c := range all {
		fmt.Fprintf(&b, "%s %s\n\n%s\n\n", strings.Repeat("#", min(i, 1)+1), c.Path, prose(c))
		if i == 0 {
			writeContents(&b, all[1:])
		}
		fmt.Fprintf(&b, "```\n%s\n```\n\n", c.Use)
		writeFlagTable(&b, c.Flags, "Flag")
		writeFlagTable(&b, c.Every, "Flag of every command")
		if c.Example != "" {
			fmt.Fprintf(&b, "Examples:\n\n```sh\n%s\n```\n\n", dedent(c.Example))
		}
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

func writeContents(b *bytes.Buffer, all []cli.Description) {
	if len(all) == 0 {
		return
	}
	b.WriteString("| command | does |\n|---|---|\n")
	for _, c := range all {
		fmt.Fprintf(b, "| [`%s`](#%s) | %s |\n", c.Path, strings.ReplaceAll(c.Path, " ", "-"), cell(c.Short))
	}
	b.WriteString("\n")
}

func writeFlagTable(b *bytes.Buffer, flags []cli.FlagText, title string) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(b, "| %s | does | default |\n|---|---|---|\n", title)
	for _, f := range flags {
		standard := ""
		if f.Default != "" {
			standard = "`" + f.Default + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(spell(f)), cell(f.Usage), cell(standard))
	}
	b.WriteString("\n")
}

// spell is how a flag is typed.
func spell(f cli.FlagText) string {
	s := "--" + f.Name
	if f.Short != "" {
		s = "-" + f.Short + ", " + s
	}
	if f.Value != "" {
		s += " " + f.Value
	}
	return s
}

// cell makes text fit into a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// prose is the long text as Markdown: what is indented by two blanks there is an example to be shown as it is.
func prose(c cli.Description) string {
	if c.Long == "" {
		return sentence(c.Short)
	}
	var out []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(c.Long), "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			paragraph = "```\n" + dedent(paragraph) + "\n```"
		}
		out = append(out, paragraph)
	}
	return strings.Join(out, "\n\n")
}

// dedent takes two blanks off every line.
func dedent(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}
