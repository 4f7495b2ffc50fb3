"""Reports which Pillow it was deployed with."""

import PIL
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def version():
    return {"pillow": PIL.__version__}
