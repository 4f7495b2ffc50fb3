package nsjail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"apibuilder/egress"
	"apibuilder/egress/netns"
	"apibuilder/egress/netstack"
	"apibuilder/sandbox/cgroup"
)

// outside is what a sandbox reaches besides itself: a network namespace whose device ends in this process; nil: nothing.
type outside struct {
	driver    *Driver
	namespace *os.File
	sockets   *os.File // the namespace's table of netlink sockets
	network   *netstack.Network
}

// netlink is the table that says what the sandbox's netlink sockets hold, nil where it has none.
func (o *outside) netlink() *os.File {
	if o == nil {
		return nil
	}
	return o.sockets
}

// openOutside makes the network of a sandbox that a guard decides for; without one nothing is made.
func (d *Driver) openOutside(guard *egress.Guard) (*outside, error) {
	if guard == nil {
		return nil, nil
	}
	n, err := netns.New()
	if err != nil {
		return nil, err
	}
	network, err := netstack.Start(n.Device, guard)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return &outside{d, n.File, n.Netlink, network}, nil
}

// start starts nsjail where its sandbox is to be.
func (o *outside) start(group *cgroup.Group, cmd *exec.Cmd) error {
	if o == nil {
		return group.Start(cmd)
	}
	defer o.namespace.Close() // the sandbox keeps it
	return group.StartIn(o.namespace, cmd)
}

// close ends every connection. Nobody waits for the device, which the kernel takes tens of milliseconds to close.
func (o *outside) close() {
	if o != nil {
		_ = o.namespace.Close()
		_ = o.sockets.Close()
		o.driver.closing.Go(o.network.Close)
	}
}

// tryNetwork makes a network and takes it away again, where sandboxes may need one.
func (d *Driver) tryNetwork() error {
	if !d.cfg.Network {
		return nil
	}
	n, err := netns.New()
	if err != nil {
		return fmt.Errorf("make a network for sandboxes: %w", err)
	}
	return n.Close()
}
