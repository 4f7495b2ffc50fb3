"""A small CRUD program with models, a path parameter, a header, a dependency and an environment variable."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

app = FastAPI()
items: dict[int, "Item"] = {}


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float = Field(gt=0)


def paging(skip: int = 0, limit: int = 10):
    return {"skip": skip, "limit": limit}


@app.get("/items")
def list_items(page: Annotated[dict, Depends(paging)]):
    return list(items.values())[page["skip"] :][: page["limit"]]


@app.put("/items/{item_id}", status_code=201)
def put_item(item_id: int, item: Item):
    items[item_id] = item
    return item


@app.get("/items/{item_id}")
def get_item(item_id: int):
    if item_id not in items:
        raise HTTPException(status_code=404, detail="no such item")
    return items[item_id]


@app.delete("/items/{item_id}", status_code=204)
def delete_item(item_id: int):
    items.pop(item_id, None)


@app.get("/whoami")
def whoami(user_agent: Annotated[str | None, Header()] = None):
    return {"agent": user_agent, "greeting": os.environ.get("GREETING")}
