package cli

import (
	"fmt"

	"apibuilder/gateway"
)

// edgeSettings are those of serve about what stands between consumers and the gateway.
var edgeSettings = []setting{
	{flag: "trusted-proxies", serve: true, usage: "`ADDRESSES` and CIDR ranges of proxies, apart by commas, that are believed about consumers"},
	{flag: "proxy-headers", serve: true, value: "x-forwarded", usage: "`KIND` of fields that the trusted proxies write: x-forwarded or forwarded"},
	{flag: "proxy-protocol", serve: true, toggle: true, usage: "the trusted proxies begin each connection with the PROXY protocol"},
}

// edgeOptions are edgeSettings, read.
type edgeOptions struct {
	trusted       gateway.Proxies
	readForwarded bool
	proxyProtocol bool
}

func readEdgeOptions(s settings) (o edgeOptions, err error) {
	if o.trusted, err = parse(s, "trusted-proxies", gateway.ParseProxies); err != nil {
		return o, err
	}
	if o.readForwarded, err = parse(s, "proxy-headers", parseProxyHeaders); err != nil {
		return o, err
	}
	if o.proxyProtocol, err = parse(s, "proxy-protocol", parseToggle); err != nil {
		return o, err
	}
	if o.proxyProtocol && len(o.trusted) == 0 {
		return o, usagef("--proxy-protocol is for trusted proxies, and there are none: name them with --trusted-proxies")
	}
	return o, nil
}

// parseProxyHeaders reports whether it is the field Forwarded.
func parseProxyHeaders(text string) (bool, error) {
	switch text {
	case "forwarded":
		return true, nil
	case "x-forwarded":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither x-forwarded nor forwarded", text)
}
