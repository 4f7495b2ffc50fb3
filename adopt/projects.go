package adopt

import "strings"

// provided are the modules of every environment: those of the packages that the runner needs, and of what these need.
var provided = map[string]bool{
	"fastapi": true, "starlette": true, "pydantic": true, "pydantic_core": true, "typing_extensions": true, "anyio": true, "idna": true,
	"sniffio": true, "uvicorn": true, "click": true, "h11": true, "websockets": true, "multipart": true, "python_multipart": true,
	"annotated_types": true, "uvloop": true, "httptools": true,
}

// renamed are modules whose project has another name; where several are possible, the first one is the one to recommend.
var renamed = map[string][]string{
	"PIL": {"pillow"}, "cv2": {"opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"},
	"yaml": {"pyyaml"}, "sklearn": {"scikit-learn"}, "skimage": {"scikit-image"}, "bs4": {"beautifulsoup4"}, "dotenv": {"python-dotenv"},
	"dateutil": {"python-dateutil"}, "jwt": {"pyjwt"}, "jose": {"python-jose"}, "psycopg2": {"psycopg2-binary", "psycopg2"},
	"psycopg": {"psycopg"}, "Crypto": {"pycryptodome"}, "attr": {"attrs"}, "magic": {"python-magic"}, "docx": {"python-docx"},
	"pptx": {"python-pptx"}, "fitz": {"pymupdf"}, "pymupdf": {"pymupdf"}, "OpenSSL": {"pyopenssl"}, "serial": {"pyserial"},
	"MySQLdb": {"mysqlclient"}, "mysql": {"mysql-connector-python"}, "usb": {"pyusb"}, "slugify": {"python-slugify"}, "bson": {"pymongo"},
	"telegram": {"python-telegram-bot"}, "faiss": {"faiss-cpu"}, "git": {"gitpython"}, "zmq": {"pyzmq"}, "socks": {"pysocks"},
	"dns": {"dnspython"}, "ldap": {"python-ldap"}, "barcode": {"python-barcode"}, "markdown": {"markdown"}, "jinja2": {"jinja2"},
	"googleapiclient": {"google-api-python-client"}, "pkg_resources": {"setuptools"}, "nacl": {"pynacl"}, "Levenshtein": {"levenshtein"},
	"langchain_openai": {"langchain-openai"}, "reportlab": {"reportlab"}, "xdg": {"pyxdg"}, "wx": {"wxpython"}, "win32api": {"pywin32"},
}

// projectsOf returns the projects that may bring a module, never none.
func projectsOf(module string) []string {
	switch {
	case provided[module]:
		return []string{"fastapi"} // every environment has it
	case renamed[module] != nil:
		return renamed[module]
	}
	return []string{strings.ToLower(strings.ReplaceAll(module, "_", "-"))}
}
