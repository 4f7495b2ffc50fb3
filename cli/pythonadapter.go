package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/python-env"
)

// pythons let the management API look at and change the interpreters of this machine.
type pythons struct {
	builder  *pythonenv.Builder
	deployer *deploy.Deployer
}

// List implements admin.Pythons.
func (p pythons) List(ctx context.Context) ([]admin.Python, error) {
	all, err := p.builder.Pythons(ctx)
	if err != nil {
		return nil, err
	}
	var out []admin.Python
	isDefault := true
	for _, one := range all {
		o := pythonOut(one)
		if o.Unusable == "" {
			o.Default, isDefault = isDefault, false
		}
		out = append(out, o)
	}
	return out, nil
}

// Add implements admin.Pythons.
func (p pythons) Add(ctx context.Context, path string) (admin.Python, error) {
	added, err := p.builder.AddPython(ctx, path)
	return pythonOut(added), pythonError(err)
}

// Install implements admin.Pythons.
func (p pythons) Install(ctx context.Context, version string, progress func(string)) (admin.Python, error) {
	added, err := p.builder.InstallPython(ctx, version, progress)
	return pythonOut(added), pythonError(err)
}

// Remove implements admin.Pythons.
func (p pythons) Remove(ctx context.Context, which string) (admin.Python, error) {
	found, err := p.builder.FindPython(ctx, which)
	if err != nil {
		return admin.Python{}, pythonError(err)
	}
	users, err := p.deployer.UsersOfPython(ctx, found.Path, found.Version)
	if err != nil {
		return admin.Python{}, err
	}
	if len(users) > 0 {
		return admin.Python{}, &deploy.Error{
			Reason:  deploy.InvalidRequest,
			Message: fmt.Sprintf("Python %s is what %s run with", found.Version, strings.Join(users, ", ")),
			Remedy:  "deploy them for another Python, or delete them, before; wait for those that are being deployed",
		}
	}
	return pythonOut(found), p.builder.RemovePython(ctx, found)
}

func pythonError(err error) error {
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return deploy.ExplainBuild(build)
	}
	return err
}

func pythonOut(p pythonenv.Python) admin.Python {
	out := admin.Python{Version: p.Version, Path: p.Path, Origin: p.Origin, Copied: p.Copied, Unusable: p.Unusable}
	if !p.Added.IsZero() {
		added := p.Added.Truncate(time.Second)
		out.AddedAt = &added
	}
	return out
}
