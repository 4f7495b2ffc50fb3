# The end of every program of this directory: each function above whose name does not begin with "_" uses one package, and
# becomes its route.

import importlib.metadata
import inspect
import re
import traceback

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/memory")
def _private_bytes():
    with open("/proc/self/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1)) * 1024


def _route(package, use):
    async def route():
        try:
            remark = await (use() if inspect.iscoroutinefunction(use) else run_in_threadpool(use))
            return {"version": importlib.metadata.version(package), "remark": remark or ""}
        except BaseException:
            return PlainTextResponse(traceback.format_exc(), status_code=500)

    app.get("/use/" + package)(route)


for _name, _use in list(globals().items()):
    if inspect.isfunction(_use) and _use.__module__ == __name__ and not _name.startswith("_"):
        _route(_name.replace("_", "-"), _use)
