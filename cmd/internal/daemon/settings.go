package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// fill sets every flag that was not given from the environment or the configuration file. All that is
// wrong is reported at once.
func fill(cmd *cobra.Command, prefix string, env func(string) (string, bool)) error {
	file, err := readConfig(cmd)
	if err != nil {
		return err
	}
	var problems []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		values, source := file[f.Name], "configuration"
		delete(file, f.Name)
		name := prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := env(name); ok {
			values, source = splitList(f, v), name
		}
		if f.Changed || f.Name == "config" || f.Name == "help" {
			return
		}
		for _, v := range values {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				problems = append(problems, fmt.Errorf("%s of %s: %v", f.Name, source, err))
			}
		}
	})
	for name := range file {
		problems = append(problems, fmt.Errorf("configuration: there is no setting %q", name))
	}
	return errors.Join(problems...)
}

// splitList splits a value of the environment at commas where the flag may be given several times.
func splitList(f *pflag.Flag, v string) []string {
	if _, list := f.Value.(pflag.SliceValue); list {
		return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	}
	return []string{v}
}

func readConfig(cmd *cobra.Command) (map[string][]string, error) {
	flag := cmd.Flags().Lookup("config")
	raw, err := os.ReadFile(flag.Value.String())
	if errors.Is(err, fs.ErrNotExist) && !flag.Changed {
		return map[string][]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %v", err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("configuration %s: %v", flag.Value, err)
	}
	out := map[string][]string{}
	for name, v := range doc {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				out[name] = append(out[name], fmt.Sprint(item))
			}
		case map[string]any:
			return nil, fmt.Errorf("configuration %s: %s must be a value or a list", flag.Value, name)
		default:
			out[name] = []string{fmt.Sprint(v)}
		}
	}
	return out, nil
}
