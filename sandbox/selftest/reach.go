package selftest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"apibuilder/egress/netns"
)

func reachChecks() []check {
	all := []check{
		withoutNetwork("reach.processes", "see other processes in /proc", byProcesses, othersProcesses),
		probe("reach.host_process", "look into this server's process through /proc", byProcesses, refused(enoent)),
		probe("reach.signals", "signal, own, reschedule or limit this server's process", byProcesses, refused("ESRCH", "EINVAL")),
		probe("reach.environment", "find the server's environment variables", "nsjail's own environment", environmentOffences),
		probe("reach.descriptors", "inherit descriptors", byDescriptor, descriptorOffences),
		probe("reach.control_descriptor", "use the control descriptor after the start", "the host has closed its end", controlOffences),
		probe("reach.interface_calls", "ask its sockets for the interfaces of the namespace that each was made in, the host's among them", bySeccomp, refused(eperm)),
		probe("reach.terminal", "reach a terminal", byAbsence, refused(enoent, "ENXIO", "ENOTTY", "EIO")),
		byHost("reach.session", "share the server's session and terminal", "session of its own", sessionOffence),
		probe("reach.abstract_socket", "connect to an abstract Unix socket of the host", byNetwork,
			also(refused(econnrefused), unvisited("abstract"))),
		probe("reach.unix_socket", "connect to a Unix socket of the host by its path", byAbsence,
			also(refused(enoent), unvisited("socket"))),
		probe("reach.host_file", "read and write a file of the host that everybody may", byAbsence,
			also(refused(enoent, "ENOTDIR", eacces), func(r *run) string { return r.bait.touched() })),
		probe("reach.host_paths", "look into directories of the host", byAbsence, pathOffences),
		probe("reach.accounts", "read the host's accounts", "an /etc of its own", accountOffences),
		probe("reach.shared_memory", "attach a System V segment of the host", "ipc namespace", refused(enoent)),
		probe("reach.message_queue", "open a POSIX message queue of the host", "ipc namespace", refused(enoent)),
		probe("reach.hostname", "read the host's name", "uts namespace", func(_ *run, s seen) []string {
			if name, _ := os.Hostname(); s["name"] == name {
				return []string{"it is called like the host: " + name}
			}
			return nil
		}),
		probe("reach.control_groups", "read the names of control groups", "cgroup namespace", func(_ *run, s seen) []string {
			var found []string
			for controllers, path := range s {
				if strings.Contains(path, "apibuilder") {
					found = append(found, controllers+" is "+path)
				}
			}
			return found
		}),
		byHost("reach.user", "run as a user that is root, has an account, or is another API's", "a user id of its own", userOffence),
		probe("reach.other_files", "find another API's file", "mount namespace", refused(enoent, eacces)),
		probe("reach.other_socket", "connect to another API's abstract socket", byNetwork, refused(econnrefused)),
		withoutNetwork("reach.other_secret", "find another API's variables", byProcesses+", variables that never are in argv or environ", otherSecret),
		withoutNetwork("reach.other_unharmed", "change what another API holds", "mount namespace", otherUnharmed),
	}
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		all = append(all, byHost("reach.namespace_"+kind, "share the "+kind+" namespace of the host or of another API", kind+" namespace",
			func(r *run, p process) (string, error) { return namespaceOffence(r, p, kind) }))
	}
	return all
}

func networkChecks() []check {
	unreachable := refused("ENETUNREACH", "EAFNOSUPPORT")
	return []check{
		probe("reach.metadata", "connect to the metadata addresses of clouds", byNetwork, unreachable),
		probe("reach.private_ranges", "connect to private addresses", byNetwork, unreachable),
		probe("reach.public_network", "connect to public addresses", byNetwork, unreachable),
		probe("reach.host_addresses", "connect to this host's addresses", byNetwork, unreachable),
		probe("reach.multicast", "send to multicast and broadcast addresses", byNetwork,
			refused("ENETUNREACH", "EAFNOSUPPORT", eacces, "EINVAL", "ENODEV", "EADDRNOTAVAIL")),
		probe("reach.host_loopback", "connect to a port on this host's loopback", byNetwork,
			also(refused(econnrefused, "ENETUNREACH", "EAFNOSUPPORT", "EADDRNOTAVAIL"), unvisited("loopback"))),
		probe("reach.host_loopback_udp", "send to a port on this host's loopback", byNetwork,
			also(refused(allowed, econnrefused, "EAFNOSUPPORT", "EADDRNOTAVAIL"), unvisited("datagrams"))),
		probe("reach.names", "resolve names, also such that lead to private addresses", byNetwork, refused("no address")),
		probe("reach.name_servers", "ask name servers directly", byNetwork, nameServerOffences),
		byHost("reach.interfaces", "have a network interface that is up", byNetwork, interfaceOffence("lo")),
	}
}

// interfaceOffence looks from the host at what interfaces are up besides some.
func interfaceOffence(but ...string) func(*run, process) (string, error) {
	return func(_ *run, p process) (text string, err error) {
		err = netns.Visit(fmt.Sprintf("/proc/%d/ns/net", p.pid), func() error {
			all, err := net.Interfaces()
			for _, i := range all {
				if i.Flags&net.FlagUp != 0 && !slices.Contains(but, i.Name) {
					text = i.Name + " is up"
				}
			}
			return err
		})
		return text, err
	}
}

// nameServerOffences lets a program talk to its own loopback, where some hosts have their resolver.
func nameServerOffences(r *run, s seen) []string {
	maps.DeleteFunc(s, func(address, _ string) bool { return net.ParseIP(address).IsLoopback() })
	return refused("ENETUNREACH", "EAFNOSUPPORT")(r, s)
}

// othersProcesses wants only the runner's interpreter and the program itself.
func othersProcesses(ctx context.Context, r *run, s *scene) finding {
	return probing("reach.processes", func(_ *run, answer seen) []string {
		var found []string
		for pid, name := range answer {
			if name != s.mark && !strings.HasPrefix(name, "python") {
				found = append(found, pid+" is "+name)
			}
		}
		return found
	})(ctx, r, s)
}

// environmentOffences finds variables that this process has as well.
func environmentOffences(_ *run, s seen) []string {
	common := []string{"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"}
	var found []string
	for name, value := range s {
		name, _, _ := strings.Cut(name, " of ")
		ours, ok := os.LookupEnv(name)
		if ok && ours == value && value != "" && !slices.Contains(common, name) || strings.HasPrefix(name, "APIBUILDER") {
			found = append(found, name+" is the server's")
		}
	}
	return found
}

func descriptorOffences(_ *run, s seen) []string {
	want := seen{"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "AF_UNIX listening", "4": "AF_UNIX connected"}
	var found []string
	for fd, kind := range s {
		if want[fd] != kind {
			found = append(found, fd+" is "+kind)
		}
	}
	return found
}

func controlOffences(_ *run, s seen) []string {
	want := map[string][]string{
		"send": {"EPIPE"}, "send a descriptor": {"EPIPE"}, "receive": {"the end"}, "the host's process": {"pid 0"},
		"the host's name of the socket": {enoent, "ENOTDIR", econnrefused, eacces, "ELOOP"},
	}
	var found []string
	for name, came := range s {
		if !slices.Contains(want[name], came) {
			found = append(found, name+": "+came)
		}
	}
	return found
}

func sessionOffence(_ *run, p process) (string, error) {
	ours, err := process{pid: os.Getpid()}.read("stat")
	if err != nil {
		return "", err
	}
	theirs, err := p.read("stat")
	if err != nil {
		return "", err
	}
	session, terminal := statField(theirs, 6), statField(theirs, 7)
	switch {
	case session == "" || session == statField(ours, 6):
		return "it is in the server's session", nil
	case terminal != "0":
		return "it has the terminal " + terminal, nil
	}
	return "", nil
}

// statField is a field of /proc/PID/stat by its number in proc_pid_stat(5), from 3 on.
func statField(stat string, number int) string {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < number-2 {
		return ""
	}
	return f[number-3]
}

// pathOffences wants none of the host's directories but those on the way to what the environment needs.
func pathOffences(r *run, s seen) []string {
	needed := append([]string{r.cfg.Spec.Python}, r.cfg.Spec.Mounts...)
	leads := func(path string) bool {
		return slices.ContainsFunc(needed, func(n string) bool {
			return n == path || strings.HasPrefix(n, path+"/") || strings.HasPrefix(path, n+"/")
		})
	}
	var found []string
	for path, came := range s {
		if came != enoent && !leads(path) {
			found = append(found, path+": "+came)
		}
	}
	return found
}

func accountOffences(_ *run, s seen) []string {
	var found []string
	for name, uid := range s {
		if name != "root" && name != "api" {
			found = append(found, fmt.Sprintf("%s is user %s", name, uid))
		}
	}
	return found
}

func userOffence(r *run, p process) (string, error) {
	uid := p.uid()
	victim, err := r.victim.process()
	if err != nil {
		return "", err
	}
	switch {
	case uid == "0":
		return "it is root", nil
	case uid == fmt.Sprint(os.Getuid()):
		return "it is this server's user " + uid, nil
	case uid == victim.uid():
		return "it is the victim's user " + uid, nil
	case accountName(uid) != "":
		return fmt.Sprintf("user %s is the account %s", uid, accountName(uid)), nil
	case p.status["Groups"] != "":
		return "it is in the groups " + p.status["Groups"], nil
	}
	gid, _, _ := strings.Cut(p.status["Gid"], "\t")
	if gid == "0" {
		return "it is in group 0", nil
	}
	return "", nil
}

func namespaceOffence(r *run, p process, kind string) (string, error) {
	ours := process{pid: os.Getpid()}.namespace(kind)
	if ours == "" {
		return "", errNotApplicable
	}
	victim, err := r.victim.process()
	if err != nil {
		return "", err
	}
	switch p.namespace(kind) {
	case "":
		return "its namespace cannot be read", nil
	case ours:
		return "it is in the host's", nil
	case victim.namespace(kind):
		return "it is in the victim's", nil
	}
	return "", nil
}

func otherSecret(ctx context.Context, r *run, s *scene) finding {
	variables, err := ask[seen](ctx, s, "/probe/reach.environment", probePatience)
	if err != nil || len(variables) == 0 {
		return failed("the probe did not run: %v", err)
	}
	for name, value := range variables {
		if strings.Contains(value, r.bait.secret) {
			return failed("the victim's secret is seen in %s", name)
		}
	}
	all, err := processes(func(p process) bool { return p.alive() })
	if err != nil {
		return failed("%v", err)
	}
	for _, p := range all {
		for _, name := range []string{"cmdline", "environ"} {
			if text, err := p.read(name); err == nil && strings.Contains(text, r.bait.secret) {
				return failed("the victim's secret is in the %s of process %d", name, p.pid)
			}
		}
	}
	return passed("it is in none of %d variables inside, and in no argv or environ on the host", len(variables))
}

func otherUnharmed(ctx context.Context, r *run, _ *scene) finding {
	mine, err := r.victim.look(ctx)
	switch {
	case err != nil:
		return failed("%v", err)
	case mine.File != "mine" || !slices.Equal(mine.Names, r.victim.at.Names):
		return failed("the victim's file holds %q and its /tmp %v", mine.File, mine.Names)
	}
	return passed("the victim finds its /tmp as it left it")
}
