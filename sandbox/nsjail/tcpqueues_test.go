package nsjail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnacceptedConnectionsAreCounted(t *testing.T) {
	const (
		waits    = "   0: 0100007F:1F90 0100007F:C350 01 00000000:00010000 00:00000000 00000000     0        0 0 1 ffff 20 4 30 10 -1\n"
		left     = "   1: 0100007F:1F90 0100007F:C351 08 00000000:00010000 00:00000000 00000000     0        0 0 1 ffff 20 4 30 10 -1\n"
		accepted = "   2: 0100007F:1F90 0100007F:C352 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 ffff 20 4 30 10 -1\n"
		over     = "   3: 0100007F:1F90 0100007F:C353 06 00000000:00000000 00:00000000 00000000     0        0 0 1 ffff\n"
		busy     = "sockets: used 69\nTCP: inuse 5000 orphan 0 tw 101 alloc 8 mem 80603\nUDP: inuse 0 mem 0\n"
		most     = mostUnaccepted
	)
	few := strings.ReplaceAll(busy, "inuse 5000", "inuse 900")
	for name, c := range map[string]struct {
		host, sandbox, table, table6 string
		ends                         bool
	}{
		"many wait":                        {host: busy, sandbox: busy, table: strings.Repeat(waits, most+1), ends: true},
		"many of IPv6":                     {host: busy, sandbox: busy, table6: strings.Repeat(waits, most+1), ends: true},
		"of both":                          {host: busy, sandbox: busy, table: strings.Repeat(left, most/2+1), table6: strings.Repeat(waits, most/2+1), ends: true},
		"as many as may":                   {host: busy, sandbox: busy, table: strings.Repeat(waits, most)},
		"none waits":                       {host: busy, sandbox: busy, table: strings.Repeat(accepted+over, 2*most)},
		"there are few, whoever has them":  {host: busy, sandbox: few, table: strings.Repeat(waits, most+1)},
		"they hold little":                 {host: strings.ReplaceAll(busy, "mem 80603", "mem 8192"), sandbox: busy, table: strings.Repeat(waits, most+1)},
		"the host does not tell":           {host: "what\n\x00", sandbox: busy, table: strings.Repeat(waits, most+1)},
		"the sandbox has ended":            {host: busy},
		"the table is large, and of lines": {host: busy, sandbox: busy, table: strings.Repeat(strings.Repeat("9", 70<<10)+"\n", 100)},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			for path, text := range map[string]string{
				"net/sockstat": c.host, "7/net/sockstat": busy, "7/net/tcp": strings.Repeat(waits, most+1), // nsjail, in the host's namespace
				"42/net/sockstat": c.sandbox, "42/net/sockstat6": "TCP6: inuse 90\n", "42/net/tcp": c.table, "42/net/tcp6": c.table6,
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
			for process, namespace := range map[string]string{"self": "net:[1]", "7": "net:[1]", "42": "net:[2]"} {
				at := filepath.Join(proc, process, "ns")
				if err := os.MkdirAll(at, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(namespace, filepath.Join(at, "net")); err != nil {
					t.Fatal(err)
				}
			}
			ended := 0
			w := &tcpWatch{newHostWatch(), proc}
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
