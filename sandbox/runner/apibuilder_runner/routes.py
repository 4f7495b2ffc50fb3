"""What an application has routes for, and which of them a request took."""


def innermost(app):
    """The application below the middleware that wraps it, as far as `.app` leads."""
    for _ in range(32):
        inner = getattr(app, "app", None)
        if hasattr(app, "routes") or not callable(inner):
            break
        app = inner
    return app


def template_of(scope, prefix, app):
    """The template of the route that a request took, "/items/{id}"; empty where that cannot be told.

    Newer versions of FastAPI put the route of an included router into the scope as its author wrote it, and beside it what
    the inclusion made of it. Older versions of Starlette put no route there that is not FastAPI's: those have an endpoint.
    """
    route, own = scope.get("route"), scope.get("fastapi")
    context = own.get("effective_route_context") if isinstance(own, dict) else None
    if context is not None and getattr(context, "original_route", None) is route:
        route = getattr(context, "starlette_route", None) or context
    if route is None:
        route = route_to(scope.get("endpoint"), app)
    path = getattr(route, "path_format", None)
    mounted = scope.get("root_path", "")[len(prefix) :]
    if mounted and hasattr(route, "app") and not hasattr(route, "endpoint"):
        return mounts_along(app, mounted) + "/{path}"  # the route is the mount itself
    if not isinstance(path, str):
        return ""
    return mounts_along(app, mounted) + path if mounted else path


def route_to(endpoint, app):
    """The only route of `app` that leads to an endpoint, or None."""
    if endpoint is None:
        return None
    found = [r for r in getattr(app, "routes", ()) if endpoint in (getattr(r, "endpoint", None), getattr(r, "app", None))]
    return found[0] if len(found) == 1 else None


def mounts_along(app, path):
    """The templates of the mounts that lead along a path, or the path itself where they cannot be found."""
    found, rest = "", path
    while rest:
        for route in getattr(app, "routes", ()):
            match = hasattr(route, "app") and not hasattr(route, "endpoint") and getattr(route, "path_regex", None)
            match = match and match.match(rest + "/")
            if match:
                inside = match.groupdict().get("path", "").rstrip("/")
                found, rest, app = found + route.path, inside and "/" + inside, route.app
                break
        else:
            return path
    return found


def describe(app):
    """List the program's routes and whether each needs input, as far as its OpenAPI document tells."""
    inner = innermost(app)
    operations = {}
    try:
        for path, item in inner.openapi().get("paths", {}).items():
            for method, operation in item.items():
                required = any(p.get("required") for p in operation.get("parameters", ()))
                operations[path, method.upper()] = required or "requestBody" in operation
    except Exception:  # a program whose document cannot be made still has routes
        pass
    routes, known = [], set()
    for (path, method), needs_input in operations.items():
        known.add((path, method))
        routes.append({"path": path, "methods": [method], "needs_input": needs_input or "{" in path})
    for route in getattr(inner, "routes", ()):
        path = getattr(route, "path", None)
        if not isinstance(path, str):
            continue
        methods = sorted(m for m in (getattr(route, "methods", None) or ()) if (path, m) not in known)
        if methods == ["HEAD"] or (not methods and any(p == path for p, _ in known)):
            continue
        routes.append({"path": path, "methods": methods, "needs_input": "{" in path or "GET" not in methods})
    return routes[:1000]
