"""Tells how many threads the libraries for numbers have made for themselves."""

import numba
import numpy  # noqa: F401
import polars
import pyarrow
import sklearn.ensemble  # noqa: F401
import threadpoolctl
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def threads():
    pools = {pool["internal_api"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    return pools | {
        "numba": numba.config.NUMBA_NUM_THREADS, "polars": polars.thread_pool_size(), "pyarrow": pyarrow.cpu_count(),
    }  # fmt: skip
