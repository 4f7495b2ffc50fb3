package nsjail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnacceptedConnectionsAreCounted(t *testing.T) {
	const (
		waits    = "   0: 0100007F:1F90 0100007F:C350 01 00000000:00001000 00:00000000 00000000     0        0 0 1 ffff 20 4 30 10 -1\n"
		large    = "   0: 0100007F:1F90 0100007F:C350 01 00000000:00500000 00:00000000 00000000     0        0 0 1 ffff 20 4 30 10 -1\n"
		left     = "   1: 0100007F:1F90 0100007F:C351 08 00000000:00001000 00:00000000 00000000     0        0 0 1 ffff 20 4 30 10 -1\n"
		accepted = "   2: 0100007F:1F90 0100007F:C352 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 ffff 20 4 30 10 -1\n"
		over     = "   3: 0100007F:1F90 0100007F:C353 06 00000000:00000000 00:00000000 00000000     0        0 0 1 ffff\n"
		listens  = "   4: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1 ffff 100 0 0 10 0\n"
		backlog  = "   5: 0100007F:1F90 00000000:0000 0A 00000000:00000040 00:00000000 00000000  1000        0 4713 1 ffff 100 0 0 10 0\n"
		busy     = "sockets: used 69\nTCP: inuse 5000 orphan 0 tw 101 alloc 8 mem 80603\nUDP: inuse 0 mem 0\n"
		most     = mostUnaccepted
	)
	for name, c := range map[string]struct {
		host, table, table6 string
		tight               bool
		ends                bool
	}{
		"many wait":                      {host: busy, table: strings.Repeat(waits, most+1), ends: true},
		"many of IPv6":                   {host: busy, table6: strings.Repeat(waits, most+1), ends: true},
		"of both":                        {host: busy, table: strings.Repeat(left, most/2+1), table6: strings.Repeat(waits, most/2+1), ends: true},
		"as many as may":                 {host: busy, table: strings.Repeat(waits, most)},
		"none waits":                     {host: busy, table: strings.Repeat(accepted+over, 2*most)},
		"those that were reset":          {host: busy, table: strings.Repeat(backlog, 5), ends: true},
		"a few that were":                {host: busy, table: strings.ReplaceAll(backlog, "00000040", "00000020")},
		"those of a listener are seen":   {host: busy, table: strings.Repeat(backlog, 5) + strings.Repeat(waits, 320)},
		"many have ended":                {host: busy, table: strings.Repeat(over, 2*mostTCPRows)},
		"few with much":                  {host: busy, table: strings.Repeat(large, 4), ends: true},
		"few with less":                  {host: busy, table: strings.Repeat(large, 2)},
		"few, on a host that is short":   {host: busy, tight: true, table: strings.Repeat(waits, most/tightTCP+1), ends: true},
		"fewer, on a host that is short": {host: busy, tight: true, table: strings.Repeat(waits, 8)},
		"they hold little":               {host: strings.ReplaceAll(busy, "mem 80603", "mem 8192"), table: strings.Repeat(waits, most+1)},
		"the host does not tell":         {host: "what\n\x00", table: strings.Repeat(waits, most+1)},
		"the sandbox has ended":          {host: busy},
		"a table that is no table":       {host: busy, table: strings.Repeat("9", 70<<10)},
		"they are behind what listens":   {host: busy, table: strings.Repeat(listens, mostTCPRows) + strings.Repeat(waits, most+1), ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			for path, text := range map[string]string{
				"net/sockstat": c.host, "7/task/7/net/tcp": strings.Repeat(waits, most+1), // nsjail, in the host's namespace
				"42/task/43/net/tcp": c.table, "42/task/43/net/tcp6": c.table6,
				"sys/net/ipv4/tcp_mem": map[bool]string{true: "160000\t383866\t575796\n", false: "287898\t383866\t575796\n"}[c.tight],
			} {
				if text == "" {
					continue
				}
				at := filepath.Join(proc, path)
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for process, namespace := range map[string]string{"thread-self": "net:[1]", "7/task/7": "net:[1]", "42/task/43": "net:[2]"} {
				at := filepath.Join(proc, process, "ns")
				if err := os.MkdirAll(at, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(namespace, filepath.Join(at, "net")); err != nil {
					t.Fatal(err)
				}
			}
			ended := 0
			w := &tcpWatch{hostWatch: newHostWatch(), proc: proc}
			w.watch(1, watched{func() []int { return []int{7, 42} }, func() { ended++ }})
			w.watch(2, watched{func() []int { return nil }, func() { t.Error("another sandbox was ended") }})
			w.look()
			w.look()
			if ended != map[bool]int{true: 1}[c.ends] {
				t.Errorf("it was ended %d times", ended)
			}
		})
	}
}
