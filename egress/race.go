package egress

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// raceDelay is how long one family's address is tried before the other's is as well (RFC 8305 says 250 ms).
const raceDelay = 250 * time.Millisecond

// mostAddresses of each family are tried of one name.
const mostAddresses = 8

// race connects to the addresses of a name, those of the first one's family before the others, and takes whichever is made. Its error is
// that of the first address.
func (c connector) race(ctx context.Context, found []netip.Addr, port uint16) (*socket, error) {
	var first, second []netip.AddrPort
	for _, a := range found {
		if a = a.Unmap(); a.Is4() == found[0].Unmap().Is4() {
			first = append(first, netip.AddrPortFrom(a, port))
		} else {
			second = append(second, netip.AddrPortFrom(a, port))
		}
	}
	first, second = first[:min(len(first), mostAddresses)], second[:min(len(second), mostAddresses)]
	if len(second) == 0 {
		return c.each(ctx, first)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn *socket
		err  error
	}
	results := make(chan result, 2)
	try := func(all []netip.AddrPort) {
		conn, err := c.each(ctx, all)
		results <- result{conn, err}
	}
	go try(first)
	running, delay := 1, time.NewTimer(raceDelay)
	defer delay.Stop()
	start := func() {
		if len(second) > 0 {
			go try(second)
			running, second = running+1, nil
		}
	}
	var firstErr error
	for running > 0 {
		select {
		case <-delay.C:
			start()
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				for range running { // the loser gives up at once
					if other := <-results; other.conn != nil {
						_ = other.conn.Close()
					}
				}
				return r.conn, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			start()
		}
	}
	return nil, firstErr
}

func (c connector) each(ctx context.Context, all []netip.AddrPort) (*socket, error) {
	var firstErr error
	for i, to := range all {
		conn, err := c.connect(ctx, to, dialTimeout/time.Duration(len(all)-i))
		if err == nil {
			return conn, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	if firstErr == nil {
		firstErr = &net.DNSError{Err: "no address", IsNotFound: true}
	}
	return nil, firstErr
}
