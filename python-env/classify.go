package pythonenv

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// uv reports everything by exit codes 1 and 2 and a text for people, so its text has to be matched. This is the only
// place that does; the tests hold it to what the pinned version prints.

// project is how uv names one in its sentences.
const project = "`?([A-Za-z0-9][A-Za-z0-9._-]*)(?:[=<>!~][^` ]*)?`?"

// uvSentences are tried in order: the first that matches explains the failure. The first group of a pattern is the
// project it is about.
var uvSentences = []struct {
	pattern *regexp.Regexp
	reason  string
	message string // $1 is the project
	remedy  string
}{
	{
		regexp.MustCompile(`No space left on device|File too large|Disk quota exceeded`), ReasonTooLarge,
		"the packages are larger than a build or this server's disk may hold", "ask for fewer or smaller packages",
	},
	{
		regexp.MustCompile("Failed to download " + project +
			`.* (?:Archive contains unacceptable filename|.* does not use UTF-8 encoding|.* File name too long)`), ReasonFailed,
		"the file of $1 cannot be unpacked", "ask for another version of it",
	},
	{
		regexp.MustCompile("Hash mismatch for `" + `([A-Za-z0-9][A-Za-z0-9._-]*) @ `), ReasonHashMismatch,
		"the file that $1 is to be installed from is not the one that it was",
		"deploy with --upgrade if it was meant to change",
	},
	{
		regexp.MustCompile("Failed to (?:download|read|resolve|prepare|fetch|build) `" + `([A-Za-z0-9][A-Za-z0-9._-]*) @ git\+`), ReasonUnreachable,
		"$1 cannot be had from its repository", "correct the address or the revision, or try again later",
	},
	{
		regexp.MustCompile(`Git operation failed|failed to clone into`), ReasonUnreachable,
		"a repository cannot be fetched", "correct its address or revision, or try again later",
	},
	{
		regexp.MustCompile("Failed to (?:download|read|resolve|prepare|fetch) `" + `([A-Za-z0-9][A-Za-z0-9._-]*) @ `), ReasonUnreachable,
		"$1 cannot be had from its address", "correct the address, or try again later",
	},
	{
		regexp.MustCompile(`Hash mismatch for ` + project), ReasonHashMismatch,
		"the index sent a file of $1 that has another hash than it announced",
		"try again, and tell the operator of this server if it stays so",
	},
	{
		regexp.MustCompile(`(?i)(?:401|403) (?:Unauthorized|Forbidden)|status code 40[13]`), ReasonUnreachable,
		"the package index refused this server's credentials",
		"the operator of this server has to correct the configured index",
	},
	{
		regexp.MustCompile(`Request failed after|Failed to fetch|Failed to download|error sending request|tcp connect error|` +
			`dns error|HTTP status server error|Missing .Content-Type.|Unsupported .Content-Type.|Failed to read .--find-links.`), ReasonUnreachable,
		"the package index does not answer",
		"try again later; the operator of this server can check the configured index, its proxy and its certificates",
	},
	{
		regexp.MustCompile(project + ` was not found in the package registry`), ReasonNotFound,
		"the index has no package $1", "check the spelling of the name",
	},
	{
		regexp.MustCompile(`Wheels are required for ` + project), ReasonNoWheel,
		"$1 has no wheel for this Python, and packages are not built from source here",
		"ask for a version that has one, or for another Python",
	},
	{
		regexp.MustCompile(`(?:Because |And because |and )` + project + ` has no (?:usable )?wheels?`), ReasonNoWheel,
		"$1 has no wheel for this Python, and packages are not built from source here",
		"ask for a version that has one, or for another Python",
	},
	{
		regexp.MustCompile(`does not satisfy Python\S+ and ` + project + ` depends? on Python`), ReasonNoWheel,
		"$1 is not for this Python",
		"ask for another version, or for another Python",
	},
	{
		regexp.MustCompile(`there (?:is|are) no versions? of ` + project), ReasonNotFound,
		"the index has no version of $1 that the requirements allow", "ask for a version that exists",
	},
	{
		regexp.MustCompile(`(?s)No solution found when resolving`), ReasonConflict,
		"the requirements contradict each other", "loosen one of the versions that are named",
	},
	{
		regexp.MustCompile(`Couldn't parse requirement|Failed to parse`), ReasonRefused,
		"uv does not understand the requirements", "correct the version or the marker",
	},
	{
		regexp.MustCompile(`No interpreter found|Failed to inspect Python interpreter|Querying Python`), ReasonNoInterpreter,
		"uv cannot use the interpreter", "the operator of this server has to reinstall it",
	},
}

// uvError turns the failure of a run of uv into a BuildError. Ends of the context stay what they are.
func uvError(what string, err error, stderr string, reqs []requirement) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	e := &BuildError{Reason: ReasonFailed, Message: "uv ended with an error: " + what, Output: stderr}
	for _, s := range uvSentences {
		m := s.pattern.FindStringSubmatch(unwrapLines(stderr))
		if m == nil {
			continue
		}
		e.Reason, e.Message, e.Remedy = s.reason, s.message, s.remedy
		if len(m) > 1 {
			e.Message = strings.ReplaceAll(e.Message, "$1", m[1])
			e.Line, e.subject = lineOf(reqs, m[1]), m[1]
		}
		break
	}
	return e
}

// unwrapLines makes one line of uv's indented continuations.
func unwrapLines(s string) string { return strings.Join(strings.Fields(s), " ") }

// conclusion is uv's own reasoning about a conflict, cut to a readable length.
func conclusion(stderr string) string {
	_, because, found := strings.Cut(unwrapLines(stderr), "cause: ")
	if !found {
		return ""
	}
	because, _, _ = strings.Cut(because, " hint: ")
	return strings.TrimSuffix(cut(because, 600), ".")
}

// explain makes a BuildError of the ends that are the author's to know.
func (b *Builder) explain(err error) error {
	var e *BuildError
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, errAbandoned), errors.Is(err, errStopped):
		return err
	case errors.Is(err, errTimedOut), errors.Is(err, context.DeadlineExceeded):
		return &BuildError{
			Reason: ReasonTimedOut, Message: "the build took longer than " + b.cfg.Timeout.String(),
			Remedy: "try again, or ask for fewer or smaller packages",
		}
	case errors.Is(err, errDiskFull), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return &BuildError{
			Reason: ReasonTooLarge, Message: "the build was ended because this server's disk is nearly full",
			Remedy: "ask for smaller packages; the operator of this server can make room in its data directory",
		}
	}
	return err
}
