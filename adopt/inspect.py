"""Reads programs without running them: JSON lines of {"code"} on standard input, one JSON line each on standard output."""
import ast, json, resource, sys, warnings

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
warnings.simplefilter("ignore")
STANDARD = getattr(sys, "stdlib_module_names", None)


def inspect(code):
    try:
        tree = ast.parse(code)
        compile(tree, "main.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        return {"syntax": "line %s: %s" % (error.lineno or 1, error.msg)}
    except (ValueError, RecursionError, MemoryError) as error:
        return {"syntax": str(error) or type(error).__name__}
    imports, app = {}, False
    for node in tree.body:
        names = []
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in getattr(node, "targets", None) or [node.target]:
                names += [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [(a.asname or a.name) for a in node.names]
        else:  # what a block or a call defines is not known without running it
            names += [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        app = app or "app" in names or "application" in names or "*" in names
    guarded = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and node.handlers:
            guarded.update(id(n) for n in ast.walk(node))
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            app = app or called in ("FastAPI", "Starlette", "globals", "setattr", "exec")
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports.setdefault(alias.name.split(".")[0], node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                imports.setdefault("." * node.level + (node.module or ""), node.lineno)
            elif node.module:
                imports.setdefault(node.module.split(".")[0], node.lineno)
    return {"app": app, "imports": {n: line for n, line in imports.items() if STANDARD and n not in STANDARD}}


for line in sys.stdin:
    print(json.dumps(inspect(json.loads(line)["code"])), flush=True)
