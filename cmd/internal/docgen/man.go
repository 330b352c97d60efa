package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

// man is the manual page of a program in the macros of man(7), all its commands on one page. It carries
// no date, so that the same program gives the same page. Words are not
// hyphenated: somebody will copy a path or a flag from it.
func man(d cli.Description) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".\\\" Written by cmd/internal/docgen from the program itself.\n"+
		".TH %q %d \"\" \"Warren\" \"Warren\"\n.nh\n.ad l\n", strings.ToUpper(d.Path), section(d.Path))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(d.Path), roff(lowerFirst(d.Short)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(d.Use))
	b.WriteString(".SH DESCRIPTION\n")
	manProse(&b, d)
	manFlags(&b, "OPTIONS", d.Flags)
	manFlags(&b, "OPTIONS OF EVERY COMMAND", d.Every)
	if all := flatten(d)[1:]; len(all) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range all {
			manCommand(&b, c)
		}
	}
	manExample(&b, ".SH EXAMPLES", d)
	manSeeAlso(&b, d.Path)
	return b.Bytes()
}

func manCommand(b *bytes.Buffer, c cli.Description) {
	fmt.Fprintf(b, ".SS %s\n", roff(c.Use))
	manProse(b, c)
	for _, f := range c.Flags {
		manFlag(b, f)
	}
	manExample(b, ".PP\nExamples:", c)
}

func manProse(b *bytes.Buffer, c cli.Description) {
	if c.Long == "" {
		fmt.Fprintf(b, "%s\n", roff(sentence(c.Short)))
		return
	}
	for i, paragraph := range strings.Split(strings.TrimSpace(c.Long), "\n\n") {
		switch {
		case strings.HasPrefix(paragraph, "  "):
			manVerbatim(b, dedent(paragraph))
			continue
		case i > 0:
			b.WriteString(".PP\n")
		}
		fmt.Fprintf(b, "%s\n", roff(paragraph))
	}
}

func manFlags(b *bytes.Buffer, title string, flags []cli.FlagText) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	for _, f := range flags {
		manFlag(b, f)
	}
}

func manFlag(b *bytes.Buffer, f cli.FlagText) {
	usage := f.Usage
	if f.Default != "" {
		usage += " (default " + f.Default + ")"
	}
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(spell(f)), roff(usage))
}

func manExample(b *bytes.Buffer, title string, c cli.Description) {
	if c.Example != "" {
		fmt.Fprintln(b, title)
		manVerbatim(b, dedent(c.Example))
	}
}

func manVerbatim(b *bytes.Buffer, text string) {
	fmt.Fprintf(b, ".PP\n.RS 4\n.nf\n%s\n.fi\n.RE\n", roff(text))
}

func manSeeAlso(b *bytes.Buffer, self string) {
	var others []string
	for _, name := range []string{"warren", "warren-agent", "warren-controller", "warren-lab"} {
		if name != self {
			others = append(others, fmt.Sprintf(".BR %s (%d)", roff(name), section(name)))
		}
	}
	fmt.Fprintf(b, ".SH SEE ALSO\n%s\n", strings.Join(others, ",\n"))
}

// roff keeps text from being read as macros of roff(7): a backslash starts an escape, a line that begins
// with a dot or an apostrophe is a request, a bare hyphen may become a typographic one.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "…", `\[u2026]`, "`", "\\(ga").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
