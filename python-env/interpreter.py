import importlib.util, json, os, platform, sys, sysconfig

v = sysconfig.get_config_vars()
p = sysconfig.get_paths()
library = os.path.join(v.get("LIBDIR") or "", v.get("INSTSONAME") or "") if v.get("Py_ENABLE_SHARED") else ""
print(json.dumps({
    "version": platform.python_version(),
    "minor": "%d.%d" % sys.version_info[:2],
    "prefix": sys.base_prefix,
    "exec_prefix": sys.base_exec_prefix,
    "stdlib": p["stdlib"],
    "platstdlib": p["platstdlib"],
    "library": library if os.path.exists(library) else "",
    "implementation": sys.implementation.name,
    "platform": "%s-%s" % (sysconfig.get_platform(), v.get("SOABI") or sys.implementation.cache_tag),
    "lacks": [m for m in ("asyncio", "compileall", "ssl", "ctypes", "sqlite3", "zlib", "multiprocessing", "email")
              if importlib.util.find_spec(m) is None],
}))
