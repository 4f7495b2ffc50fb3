// Command deb makes a Debian package from nfpm's description of it: deb CONFIG TARGET. Of nfpm it takes that one format. Variables
// like ${ROOT} in the description are those of the environment; each must be set.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: deb CONFIG TARGET")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read the description: %w", err)
	}
	var missing error
	filled := os.Expand(string(text), func(name string) string {
		value, ok := os.LookupEnv(name)
		if !ok {
			missing = fmt.Errorf("%s names the variable %s, which is not set", args[0], name)
		}
		return value
	})
	if missing != nil {
		return missing
	}
	return write(filled, args[1])
}

func write(description, target string) (err error) {
	file, err := os.CreateTemp("", "nfpm-*.yaml")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(description)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	config, err := nfpm.ParseFile(file.Name())
	if err != nil {
		return fmt.Errorf("read the description: %w", err)
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	return errors.Join(deb.Default.Package(info, out), out.Close())
}
