package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/bundle"
)

func (a *app) downloadCommand() *cli.Command {
	return &cli.Command{
		Name:      "download",
		Usage:     "fetch what a version was deployed from",
		ArgsUsage: "NAME[@VERSION]",
		Description: "Writes the version's files into a new directory; a program of one text is main.py, and its requirements are\n" +
			"requirements.txt. Without VERSION it is the active one.",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "to", Usage: "`DIRECTORY` to make; NAME-VERSION when left out"}},
		Action: a.download,
	}
}

func (a *app) download(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	name, number, err := apiVersion(args[0])
	if err != nil {
		return err
	}
	version := "active"
	if number != 0 {
		version = strconv.Itoa(number)
	}
	var source admin.VersionSource
	if err := a.call(ctx, cmd, http.MethodGet, client.Path("apis", name, "versions", version, "source"), nil, &source); err != nil {
		return err
	}
	files, err := sourceFiles(source)
	if err != nil {
		return err
	}
	to := cmd.String("to")
	if to == "" {
		to = fmt.Sprintf("%s-%d", filepath.Base(source.Name), source.Version)
	}
	if err := writeFiles(to, files); err != nil {
		return err
	}
	names := []string{}
	for _, f := range files {
		names = append(names, f.Path)
	}
	report := downloaded{source.Name, source.Version, to, source.Entry, names}
	return a.show(cmd, report, func(w io.Writer) {
		row(w, report.Name, fmt.Sprintf("version %d is in %s, %s", report.Version, report.Directory, filesText(len(names), bytesOf(files))))
	})
}

// downloaded is what --json prints.
type downloaded struct {
	Name      string   `json:"name"`
	Version   int      `json:"version"`
	Directory string   `json:"directory"`
	Entry     string   `json:"entry,omitempty"`
	Files     []string `json:"files"`
}

// sourceFiles are a version's files. The server is not relied on: an archive is checked as any other.
func sourceFiles(s admin.VersionSource) ([]bundle.File, error) {
	files := []bundle.File{{Path: "main.py", Content: []byte(s.Code)}}
	if len(s.Archive) > 0 {
		b, err := bundle.Open(s.Archive)
		if err != nil {
			return nil, fmt.Errorf("read the files that the server sent: %w", err)
		}
		files = b.Files()
	}
	for _, f := range files {
		if strings.EqualFold(f.Path, "requirements.txt") {
			return files, nil
		}
	}
	if s.Requirements != "" {
		files = append(files, bundle.File{Path: "requirements.txt", Content: []byte(s.Requirements)})
	}
	return files, nil
}

func bytesOf(files []bundle.File) (n int64) {
	for _, f := range files {
		n += int64(len(f.Content))
	}
	return n
}

// writeFiles writes into a directory that it makes.
func writeFiles(dir string, files []bundle.File) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("%w: name another directory with --to", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if err := errors.Join(root.MkdirAll(filepath.Dir(f.Path), 0o755), root.WriteFile(f.Path, f.Content, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// filesText is "3 files, 1234 bytes".
func filesText(n int, bytes int64) string {
	size := strconv.FormatInt(bytes, 10) + " bytes"
	if bytes >= 1<<20 {
		size = formatSize(bytes)
	}
	if n == 1 {
		return "1 file, " + size
	}
	return fmt.Sprintf("%d files, %s", n, size)
}
