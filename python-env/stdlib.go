package pythonenv

import "strings"

// standardLibrary holds the top-level modules of CPython 3.9 to 3.14 (sys.stdlib_module_names), without those that begin
// with an underscore.
var standardLibrary = setOf(`abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64
bdb binascii binhex bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys
compileall compression concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses
datetime dbm decimal difflib dis distutils doctest email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput
fnmatch formatter fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac
html http idlelib imaplib imghdr imp importlib inspect io ipaddress itertools json keyword lib2to3 linecache locale logging
lzma mailbox mailcap marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib nt ntpath
nturl2path numbers opcode operator optparse os ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform
plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random
re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site smtpd smtplib
sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep struct
subprocess sunau symbol symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap this threading
time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types typing unicodedata
unittest urllib uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile
zipimport zlib zoneinfo`)

// addedToStandard says since which Python a module is in the standard library.
var addedToStandard = map[string]string{
	"graphlib": "3.9", "zoneinfo": "3.9", "tomllib": "3.11", "annotationlib": "3.14", "compression": "3.14",
}

// removedFromStandard says since which Python a module is gone.
var removedFromStandard = func() map[string]string {
	gone := map[string]string{}
	for version, modules := range map[string]string{
		"3.10": "formatter parser symbol",
		"3.11": "binhex",
		"3.12": "asynchat asyncore distutils imp smtpd",
		"3.13": "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd sunau telnetlib uu xdrlib",
	} {
		for _, m := range strings.Fields(modules) {
			gone[m] = version
		}
	}
	return gone
}()

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// inStandardLibrary reports whether some Python has a module in its standard library.
func inStandardLibrary(module string) bool {
	top, _, _ := strings.Cut(module, ".")
	return standardLibrary[top] || strings.HasPrefix(top, "_")
}
