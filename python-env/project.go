package pythonenv

import "slices"

// ProjectFile is where a folder of Python says what it needs, in the table [project] (PEP 621).
const ProjectFile = "pyproject.toml"

// maxProject is the most bytes of a ProjectFile.
const maxProject = 256 << 10

// Project is what a ProjectFile says of the needs of its folder.
type Project struct {
	Dependencies   []string // as a requirements text has them, one a line
	RequiresPython string   // a version specifier like ">=3.10", see PEP 440; may be empty
	// Elsewhere says in words where dependencies are said that ReadProject does not know; empty: nowhere.
	Elsewhere string
}

// Requirements is the text of a requirements file with the dependencies.
func (p Project) Requirements() string { return requirementsText(p.Dependencies) }

// ReadProject reads the text of a ProjectFile. Its error is a *BuildError.
func ReadProject(text string) (Project, error) {
	var meta struct {
		Project struct {
			Dependencies   []string `toml:"dependencies"`
			RequiresPython string   `toml:"requires-python"`
			Dynamic        []string `toml:"dynamic"`
		} `toml:"project"`
		Tool struct {
			Poetry struct {
				Dependencies map[string]any `toml:"dependencies"`
			} `toml:"poetry"`
		} `toml:"tool"`
	}
	if err := decodeTOML(text, maxProject, &meta); err != nil {
		return Project{}, projectError(err.Error())
	}
	said := meta.Project
	if wrong := wrongNeeds(said.Dependencies, said.RequiresPython); wrong != "" {
		return Project{}, projectError(wrong)
	}
	p := Project{Dependencies: said.Dependencies, RequiresPython: said.RequiresPython}
	switch {
	case slices.Contains(said.Dynamic, "dependencies"):
		p.Elsewhere = "leaves its dependencies to a build"
	case len(said.Dependencies) == 0 && len(meta.Tool.Poetry.Dependencies) > 0:
		p.Elsewhere = "has its dependencies in [tool.poetry.dependencies]"
	}
	return p, nil
}

func projectError(what string) error {
	return &BuildError{
		Reason:  ReasonRefused,
		Message: ProjectFile + " " + what,
		Remedy:  `write it as in PEP 621, for example: dependencies = ["pillow==10.4.0"] below [project]; or hand in a requirements text with -r`,
	}
}
