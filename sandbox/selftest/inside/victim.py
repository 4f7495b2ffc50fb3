"""The API that is served beside all others, and must not notice."""

with open(GIVEN["other_file"], "w") as f:
    f.write("mine")
held = socket.socket(socket.AF_UNIX)
held.bind("\0" + GIVEN["other_abstract"])
held.listen()


@app.get("/")
async def root():
    return "well"


@app.get("/mine")
async def mine():
    with open(GIVEN["other_file"]) as f:
        return {"file": f.read(), "names": sorted(os.listdir("/tmp"))}
