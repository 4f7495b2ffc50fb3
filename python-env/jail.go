package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
)

// Jail runs the programs of a build as the build user, where they reach nothing but what they are given: no other
// environment, no network, no secret, none of this process's environment, within bounds of memory, processes and bytes
// written. It is used concurrently.
type Jail interface {
	// Run runs cmd, of which Args, Dir, Env, Stdin, Stdout and Stderr count, and returns when none of its processes is
	// left. It sees the system's libraries, readOnly and writable, all under their own names. Where serve is given, it
	// can connect to port 80 of 127.0.0.1: serve accepts there until the listener is closed, and returns then.
	//
	// The error is an *exec.ExitError when the program failed, ctx's cause when that ended first, one with a method
	// Exceeded() string ("memory", "processes", "written") when the program used too much, and any other when it could
	// not be run.
	Run(ctx context.Context, cmd *exec.Cmd, readOnly, writable []string, serve func(net.Listener)) error
}

// place is where in the jail a command runs, and what it sees.
type place struct {
	scratch  scratch
	readOnly []string
	writable []string
	mirror   *mirror // nil: without the package index
}

// run returns what runs a program here.
func (p *place) run(cfg Config) func(context.Context, *exec.Cmd) error {
	var serve func(net.Listener)
	if p.mirror != nil {
		serve = p.mirror.serve
	}
	return func(ctx context.Context, cmd *exec.Cmd) error {
		return cfg.Jail.Run(ctx, cmd, p.readOnly, p.writable, serve)
	}
}

// explainLimit makes a BuildError of a bound that the jail enforced.
func explainLimit(err error) error {
	var limit interface {
		error
		Exceeded() string
	}
	if !errors.As(err, &limit) {
		return err
	}
	e := &BuildError{Reason: ReasonTooLarge, Message: "the build was ended: " + limit.Error(), Remedy: remedySmaller}
	if limit.Exceeded() != "written" {
		e.Reason = ReasonOutOfMemory
		e.Remedy = "ask for fewer or smaller packages; the operator of this server can allow builds more"
	}
	return e
}

const remedySmaller = "ask for fewer or smaller packages"

func tooLarge(what string, limit int64) error {
	return &BuildError{
		Reason: ReasonTooLarge, Message: fmt.Sprintf("the build was ended: it %s more than %d MiB", what, limit>>20),
		Remedy: remedySmaller,
	}
}

func tooMany() error {
	return &BuildError{
		Reason: ReasonTooLarge, Message: fmt.Sprintf("the build was ended: it made more than %d files", maxFiles), Remedy: remedySmaller,
	}
}
