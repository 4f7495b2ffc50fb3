"""Has a page, a secret behind a key, and the interactive documentation with its scripts from here."""

from fastapi.responses import HTMLResponse
from fastapi_offline import FastAPIOffline

app = FastAPIOffline()


@app.get("/page")
def page():
    answer = HTMLResponse("<p>the page</p>")
    answer.set_cookie("session", "victim")
    return answer


@app.get("/secret")
def secret():
    return "the secret"
