"""A page that tries what it should not be able to, and tells what came of it."""

import asyncio

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

app = FastAPI()
found = asyncio.Queue()

PAGE = """<!doctype html><body><script>
const got = {};
const query = new URLSearchParams(location.search);
async function attempt(name, what) {
  try { got[name] = String(await what()); } catch (error) { got[name] = "refused: " + error.name; }
}
function frame(url) {
  return new Promise((done, failed) => {
    const frame = document.createElement("iframe");
    frame.onload = () => { try { done(frame.contentDocument.body.innerText); } catch (error) { failed(error); } };
    frame.src = url;
    document.body.append(frame);
  });
}
async function load(url, init) {
  const answer = await fetch(url, init);
  return answer.status + " " + await answer.text();
}
(async () => {
  await attempt("origin", () => self.origin);
  await attempt("cookie", () => { document.cookie = "a=1"; return document.cookie; });
  await attempt("storage", () => { localStorage.setItem("a", "1"); return localStorage.getItem("a"); });
  await attempt("worker", async () => (await navigator.serviceWorker.register("worker.js")).active);
  await attempt("own", () => load("data"));
  await attempt("own, posted", () => load("data", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}));
  if (query.get("victim")) {
    await attempt("frame", () => frame(query.get("victim") + "/page"));
    await attempt("secret", () => load(query.get("victim") + "/secret"));
    await attempt("secret, with cookies", () => load(query.get("victim") + "/secret", {credentials: "include"}));
    await attempt("secret, with its key", () => load(query.get("victim") + "/secret", {headers: {"X-API-Key": query.get("key")}}));
  }
  await fetch("report", {method: "POST", body: JSON.stringify(got), mode: "no-cors"});
})();
</script></body>"""


@app.get("/")
def page():
    return HTMLResponse(PAGE, headers={"Clear-Site-Data": '"cookies"', "Cross-Origin-Opener-Policy": "same-origin"})


@app.get("/disguised")
def disguised():
    """What is taken for text by what stands first, and for a document by browsers."""
    return Response(PAGE, headers={"Content-Type": "text/plain;a=b, text/html"})


@app.get("/data")
@app.post("/data")
def data():
    return "mine"


@app.get("/worker.js")
def worker():
    return Response("self.onfetch = () => {};", media_type="text/javascript", headers={"Service-Worker-Allowed": "/"})


@app.post("/report")
async def report(request: Request):
    await found.put(await request.body())


@app.get("/found")
async def wait():
    return Response(await found.get(), media_type="application/json")
