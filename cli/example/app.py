"""The example that a new server deploys for itself: JSON in and out, a query parameter, and a file upload."""

import io

from fastapi import Depends, FastAPI, File, Form, HTTPException, UploadFile
from fastapi.responses import Response
from fastapi.security import APIKeyHeader
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel

# The platform checks the key before a request gets here, and keeps it to itself. Declaring it puts the Authorize button
# on the documentation page, so that "Try it out" sends the key.
key = APIKeyHeader(name="X-API-Key", auto_error=False, description="the key that the server printed")

app = FastAPI(title="Example", description="Deployed by the server itself.", dependencies=[Depends(key)])


class Message(BaseModel):
    text: str
    repeat: int = 1


@app.get("/hello")
def hello(name: str = "world") -> dict:
    return {"hello": name}


@app.post("/echo")
def echo(message: Message) -> dict:
    return {"text": " ".join([message.text] * max(1, min(message.repeat, 100)))}


@app.post("/resize", response_class=Response)
def resize(file: UploadFile = File(...), width: int = Form(..., gt=0, le=4096), height: int = Form(..., gt=0, le=4096)):
    try:
        image = Image.open(file.file)
        kind = image.format
        resized = image.resize((width, height))
    except (UnidentifiedImageError, OSError) as error:
        raise HTTPException(status_code=400, detail=f"this is no image that Pillow reads: {error}")
    out = io.BytesIO()
    resized.save(out, format=kind)
    return Response(out.getvalue(), media_type=Image.MIME.get(kind, "application/octet-stream"))
