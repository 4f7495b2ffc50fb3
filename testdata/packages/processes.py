"""Maps a function of its own over worker processes, however they are started."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from fastapi import FastAPI

app = FastAPI()


def square(n):
    return n * n


@app.get("/{method}")
def squares(method: str):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        return list(pool.map(square, range(4), timeout=30))
