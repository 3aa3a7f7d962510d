"""The models on FastAPI and uvicorn, as their documentation shows it: no queue, no worker process, no log capture."""

import asyncio
import itertools
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

application = FastAPI()
CONTENT = bytes(range(256)) * (10 * 1024 * 1024 // 256)
NUMBERS = itertools.cycle(range(16))  # more than there are clients: nobody's file is written while it is read


class Text(BaseModel):
    text: str


class Count(BaseModel):
    count: int


class Name(BaseModel):
    name: str


@application.post("/trivial")
async def trivial(body: Text) -> str:
    return body.text[::-1]


@application.post("/sleep")
async def sleep(body: Text) -> str:
    await asyncio.sleep(0.01)
    return body.text[::-1]


@application.post("/large")
async def large(body: Text) -> int:
    return len(body.text)


@application.post("/text")
async def text(body: Count) -> str:
    return "x" * body.count


@application.post("/stream")
async def stream(body: Count) -> StreamingResponse:
    async def tokens():
        for number in range(body.count):
            await asyncio.sleep(0)
            yield f"data: token{number} \n\n"

    return StreamingResponse(tokens(), media_type="text/event-stream")


@application.post("/file")
def file(body: Name) -> FileResponse:
    path = Path(f"/tmp/{body.name}-{next(NUMBERS)}.bin")
    path.write_bytes(CONTENT)
    return FileResponse(path)


if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), log_level="warning")
