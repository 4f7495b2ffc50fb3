"""Prepares something before it serves, and says so when it ends."""

from contextlib import asynccontextmanager

from fastapi import FastAPI

state = {}


@asynccontextmanager
async def lifespan(_app):
    state["ready"] = True
    print("lifespan: started")
    yield
    print("lifespan: ended")


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
def ready():
    return state
