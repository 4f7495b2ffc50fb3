package selftest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
)

var attackLimits = sandbox.Limits{MemoryBytes: 128 << 20, CPU: 1, Pids: 24, TmpBytes: 16 << 20}

const (
	attackPatience = 20 * time.Second
	stormTime      = time.Second // of a fork storm that has begun
	// ownProcesses are those of a sandbox that its program does not count as its own.
	ownProcesses = 4
	// maxDescriptors is how many a sandbox is promised to have at most.
	maxDescriptors = 16384
)

// count is what most attacks answer: how much they got, and what stopped them.
type count struct {
	Made    int64  `json:"made"`
	Stopped string `json:"stopped"`
	After   int64  `json:"after"`
}

func limitProbes() []check {
	return []check{
		probe("resources.raise_limits", "raise its hard limits", "resource limits, "+byNoCaps, refused(eperm)),
		probe("resources.file_size", "make a file of a terabyte", "RLIMIT_FSIZE", refused("EFBIG")),
		probe("resources.locked_memory", "lock memory", "RLIMIT_MEMLOCK", refused("ENOMEM", eperm, "EAGAIN")),
		probe("resources.message_queues", "make message queues", "RLIMIT_MSGQUEUE", queueOffences),
		probe("resources.realtime", "run with realtime priority", "RLIMIT_RTPRIO, "+byNoCaps, refused(eperm)),
		probe("resources.priority", "raise its priority", byNoCaps, refused(eperm, eacces)),
		probe("resources.oom_score", "be spared when memory is short", byReadOnly+", "+byNoCaps, refused(erofs, eacces, eperm)),
	}
}

// queueOffences wants the first queue to be refused already.
func queueOffences(_ *run, s seen) []string {
	if came := s["the first"]; came == "EMFILE" || came == enosys {
		return nil
	}
	return []string{s.String()}
}

func resourceChecks() []check {
	memory := func(id, tried string) check {
		return attackCheck("resources."+id, tried, "control group: memory", attackLimits, func(ctx context.Context, s *scene) finding {
			return runOutOfMemory(ctx, s, "/attack/"+id)
		})
	}
	roomy := attackLimits
	roomy.TmpBytes = roomy.MemoryBytes
	half := attackLimits
	half.CPU = 0.5
	start := newCheck("resources.start", "never finish starting", "start timeout", neverStarts)
	start.waits = true
	return []check{
		start,
		attackCheck("resources.fork", "fork until it is refused, then go on", "control group: pids", attackLimits, forks),
		attackCheck("resources.fork_storm", "fork in every child without end", "control group: pids, end of the whole group", attackLimits, forkStorm),
		attackCheck("resources.threads", "start threads until it is refused", "control group: pids", attackLimits, startsThreads),
		memory("memory", "take memory in one process"),
		memory("memory_children", "take memory in many children"),
		attackCheck("resources.memory_tmp", "take memory with files in /tmp", "control group: memory", roomy, func(ctx context.Context, s *scene) finding {
			return runOutOfMemory(ctx, s, "/attack/memory_tmp")
		}),
		memory("memory_shm", "take memory with System V segments"),
		memory("memory_memfd", "take memory with files that have no name (memfd)"),
		memory("memory_sockets", "take memory with the buffers of sockets"),
		memory("memory_pipes", "take memory with the buffers of pipes"),
		attackCheck("resources.memory_locks", "take memory with locks of files", "the server's look at all locks", attackLimits, func(ctx context.Context, s *scene) finding {
			return runOutOfMemory(ctx, s, "/attack/memory_locks")
		}),
		attackCheck("resources.memory_accept", "take memory with connections that nobody accepts", "the server's look at TCP", attackLimits, func(ctx context.Context, s *scene) finding {
			return runOutOfMemory(ctx, s, "/attack/memory_accept")
		}),
		attackCheck("resources.disk", "fill /tmp with bytes", "size of the tmpfs", attackLimits, fillsDisk),
		attackCheck("resources.inodes", "fill /tmp with empty files", "inodes of the tmpfs", attackLimits, fillsInodes),
		attackCheck("resources.descriptors", "open descriptors until it is refused", "RLIMIT_NOFILE", attackLimits, opensDescriptors),
		attackCheck("resources.cpu", "spin in sixteen threads", "control group: cpu", half, spins),
		attackCheck("resources.core", "dump core", "RLIMIT_CORE", attackLimits, dumpsCore),
		attackCheck("resources.daemons", "leave daemons behind that ignore signals", "end of the whole group", attackLimits, leavesDaemons),
		attackCheck("resources.log_flood", "print without end", "bounded rate of reading", attackLimits, floodsLog),
		attackCheck("resources.log_line", "print one endless line", "bounded length of a line", attackLimits, printsLine),
		attackCheck("resources.log_binary", "print bytes that are no text", "bytes are replaced", attackLimits, printsBinary),
		attackCheck("resources.request", "never answer one request", "the host's patience; others are answered", attackLimits, neverAnswers),
		attackCheck("resources.request_blocks", "answer nothing any more", "the host's patience and SIGKILL", attackLimits, answersNothing),
		attackCheck("resources.answer", "answer without end", "the reader closes", attackLimits, answersWithoutEnd),
	}
}

// attackCheck makes a check that has a sandbox to itself.
func attackCheck(id, tried, stops string, limits sandbox.Limits, judge func(context.Context, *scene) finding) check {
	c := newCheck(id, tried, stops, func(ctx context.Context, r *run) finding {
		s, err := r.launch(ctx, launch{files: []string{"attacks"}, limits: limits})
		if err != nil {
			return failed("start the program: %v", err)
		}
		p, err := s.process()
		if err != nil {
			s.end()
			return failed("%v", err)
		}
		f := judge(ctx, s)
		began := time.Now()
		s.end()
		if stay, err := left(p.uid(), 5*time.Second); f.verdict == Pass && (err != nil || len(stay) > 0) {
			return failed("%d processes are left after the sandbox has ended: %v", len(stay), err)
		}
		if took := time.Since(began); f.verdict == Pass && took > 10*time.Second {
			return failed("it took %v to end the sandbox", took)
		}
		return f
	})
	c.attack = true
	return c
}

// peak keeps the most that Stats told since watch.
type peak struct {
	memory int64
	pids   int
	stop   chan struct{}
	wg     sync.WaitGroup
}

func watch(s *scene) *peak {
	p := &peak{stop: make(chan struct{})}
	p.wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if stats, err := s.Stats(); err == nil {
				p.memory, p.pids = max(p.memory, stats.MemoryBytes), max(p.pids, stats.Pids)
			}
			select {
			case <-tick.C:
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// end returns when nothing is written to p any more.
func (p *peak) end() { close(p.stop); p.wg.Wait() }

func forks(ctx context.Context, s *scene) finding {
	p := watch(s)
	c, err := ask[count](ctx, s, "/attack/fork", attackPatience)
	p.end()
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Stopped != "EAGAIN" || c.Made > int64(s.limits.Pids):
		return failed("it made %d children and was stopped by %s", c.Made, c.Stopped)
	case p.pids > s.limits.Pids+ownProcesses:
		return failed("the host counted %d processes with a limit of %d", p.pids, s.limits.Pids)
	case p.pids < s.limits.Pids/2:
		return failed("the host counted no more than %d processes: the attack did not run", p.pids)
	case c.After != 7:
		return failed("it could not fork after its children had ended")
	}
	if err := s.Probe(ctx); err != nil {
		return failed("after it: %v", err)
	}
	return passed("refused after %d, the host counted %d; it went on after", c.Made, p.pids)
}

func forkStorm(ctx context.Context, s *scene) finding {
	p := watch(s)
	storm, end := context.WithTimeout(ctx, attackPatience)
	defer end()
	over := make(chan error, 1)
	go func() {
		_, err := s.get(storm, "/attack/storm", attackPatience)
		over <- err
		end()
	}()
	s.awaitProcesses(storm, s.limits.Pids/2)
	var err error
	select {
	case err = <-over:
	case <-time.After(stormTime):
		end()
		err = <-over
	}
	p.end()
	switch {
	case err == nil:
		return failed("the storm ended by itself")
	case s.Exit() != nil:
		return failed("the sandbox ended: %v", s.Exit())
	case p.pids > s.limits.Pids+ownProcesses:
		return failed("the host counted %d processes with a limit of %d", p.pids, s.limits.Pids)
	case p.pids < s.limits.Pids/2:
		return failed("the host counted no more than %d processes: the attack did not run", p.pids)
	}
	return passed("the host counted %d processes, and ended all", p.pids)
}

// awaitProcesses waits until the host counts so many, or for the end of ctx: on a busy machine an attack begins late.
func (s *scene) awaitProcesses(ctx context.Context, n int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if stats, err := s.Stats(); err == nil && stats.Pids >= n {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func startsThreads(ctx context.Context, s *scene) finding {
	p := watch(s)
	c, err := ask[count](ctx, s, "/attack/threads", attackPatience)
	p.end()
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Stopped != "refused" || p.pids > s.limits.Pids+ownProcesses:
		return failed("it made %d threads, the host counted %d processes and threads", c.Made, p.pids)
	}
	return passed("refused after %d, the host counted %d", c.Made, p.pids)
}

func runOutOfMemory(ctx context.Context, s *scene, path string) finding {
	p := watch(s)
	body, err := s.get(ctx, path, attackPatience)
	patience := 3 * time.Second // its end is known a little later than that of its connection
	if err == nil {
		patience = 0
	}
	exit := s.ended(ctx, patience)
	p.end()
	switch {
	case exit == nil:
		return failed("it goes on, having taken %d MiB of %d: %s %v", p.memory>>20, s.limits.MemoryBytes>>20, body, err)
	case exit.Reason != sandbox.OutOfMemory:
		return failed("it ended with %v: %s %s", exit, exit.Detail, exit.Output)
	case p.memory > s.limits.MemoryBytes+s.limits.MemoryBytes/16:
		return failed("the host counted %d MiB with a limit of %d", p.memory>>20, s.limits.MemoryBytes>>20)
	}
	return passed("%v, at most %d of %d MiB", exit, p.memory>>20, s.limits.MemoryBytes>>20)
}

// disk asks the host how large the sandbox's /tmp is.
func disk(s *scene) (bytes, files int64, err error) {
	p, err := s.process()
	if err != nil {
		return 0, 0, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(fmt.Sprintf("/proc/%d/root/tmp", p.pid), &fs); err != nil {
		return 0, 0, fmt.Errorf("look at the sandbox's /tmp: %w", err)
	}
	return int64(fs.Blocks) * fs.Bsize, int64(fs.Files), nil
}

func fillsDisk(ctx context.Context, s *scene) finding {
	bytes, _, err := disk(s)
	if err != nil {
		return failed("%v", err)
	}
	c, err := ask[count](ctx, s, "/attack/disk", attackPatience)
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Stopped != "ENOSPC" || c.Made > s.limits.TmpBytes || bytes > s.limits.TmpBytes:
		return failed("it wrote %d MiB and was stopped by %s; the host says that /tmp has %d MiB, not %d", c.Made>>20, c.Stopped, bytes>>20, s.limits.TmpBytes>>20)
	case c.After == 0:
		return failed("it could not write after it had removed its files")
	}
	return passed("ENOSPC after %d MiB; it went on after", c.Made>>20)
}

func fillsInodes(ctx context.Context, s *scene) finding {
	_, files, err := disk(s)
	if err != nil {
		return failed("%v", err)
	}
	c, err := ask[count](ctx, s, "/attack/inodes", attackPatience)
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Stopped != "ENOSPC" || files == 0 || c.Made > files:
		return failed("it made %d files and was stopped by %s; the host says that /tmp has %d", c.Made, c.Stopped, files)
	}
	return passed("ENOSPC after %d files; it went on after", c.Made)
}

func opensDescriptors(ctx context.Context, s *scene) finding {
	c, err := ask[count](ctx, s, "/attack/descriptors", attackPatience)
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Stopped != "EMFILE" || c.Made > maxDescriptors:
		return failed("it opened %d and was stopped by %s", c.Made, c.Stopped)
	}
	return passed("EMFILE after %d; it went on after", c.Made)
}
