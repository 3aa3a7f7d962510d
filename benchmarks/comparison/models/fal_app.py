"""The models as a fal app, on the server that fal's own package brings."""

import asyncio
import sys

import fal
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Text(BaseModel):
    text: str


class Count(BaseModel):
    count: int


class Output(BaseModel):
    output: str | int


class Models(fal.App):
    @fal.endpoint("/trivial")
    async def trivial(self, body: Text) -> Output:
        return Output(output=body.text[::-1])

    @fal.endpoint("/sleep")
    async def sleep(self, body: Text) -> Output:
        await asyncio.sleep(0.01)
        return Output(output=body.text[::-1])

    @fal.endpoint("/large")
    async def large(self, body: Text) -> Output:
        return Output(output=len(body.text))

    @fal.endpoint("/text")
    async def text(self, body: Count) -> Output:
        return Output(output="x" * body.count)

    @fal.endpoint("/stream")
    async def stream(self, body: Count) -> StreamingResponse:
        async def tokens():
            for number in range(body.count):
                await asyncio.sleep(0)
                yield f"data: token{number} \n\n"

        return StreamingResponse(tokens(), media_type="text/event-stream")


if __name__ == "__main__":
    Models.run_local(exposed_port=int(sys.argv[1]), exposed_metrics_port=int(sys.argv[2]))
