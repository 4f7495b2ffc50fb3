package pythonenv

import (
	"net"
	"net/url"
	"testing"
)

// TestOnlyProjectPagesOfAnIndexAreReached is about the operator's credentials, which go with every request to the host of the
// index: a build must not be able to choose another path there.
func TestOnlyProjectPagesOfAnIndexAreReached(t *testing.T) {
	up, err := newUpstream(Config{IndexURL: "https://operator:s3cret@index.example/root/simple"}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	base := mirrorURL + "/i/" + idOf(up.indexes[0]) + "/"
	for path, want := range map[string]string{
		"six/": "/root/simple/six/", "zope.interface": "/root/simple/zope.interface",
		"../": "", "..": "", "./": "", "": "", "six/../../admin": "", "%2e%2e/": "", "a/b/": "", "a%2fb": "", "six/?x=y#z": "/root/simple/six/",
	} {
		address, err := url.Parse(base + path)
		if err != nil {
			t.Fatal(err)
		}
		target, page, err := up.target(address)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q leads to %s", path, target.Redacted())
		case want != "" && (err != nil || !page || target.Path != want || target.Host != "index.example"):
			t.Errorf("%q leads to %v, %v", path, target, err)
		}
	}
}

func TestAddressesInsideAreRefused(t *testing.T) {
	for _, inside := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.1.2.3", "224.0.0.1", "255.255.255.255",
		"198.18.0.1", "::1", "::", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "name",
	} {
		if refusePrivate(net.JoinHostPort(inside, "443")) == nil {
			t.Errorf("%s is dialled", inside)
		}
	}
	for _, public := range []string{"151.101.0.223", "2a04:4e42::223", "::ffff:151.101.0.223"} {
		if err := refusePrivate(net.JoinHostPort(public, "443")); err != nil {
			t.Errorf("%s: %v", public, err)
		}
	}
}
