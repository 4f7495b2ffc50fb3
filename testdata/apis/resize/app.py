"""The program that the platform before this one could not serve: an upload beside form fields."""

import hashlib
import io

from fastapi import FastAPI, File, Form, UploadFile
from fastapi.responses import Response
from PIL import Image

app = FastAPI()


@app.post("/resize")
async def resize(file: UploadFile = File(...), width: int = Form(...), height: int = Form(...)):
    content = await file.read()
    image = Image.open(io.BytesIO(content))
    kind = image.format
    out = io.BytesIO()
    image.resize((width, height)).save(out, format=kind)
    made = out.getvalue()
    told = {"X-Uploaded-Bytes": str(len(content)), "X-SHA256": hashlib.sha256(made).hexdigest()}
    return Response(made, media_type=Image.MIME[kind], headers=told)
