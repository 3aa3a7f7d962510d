"""The models on BentoML."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import bentoml

CONTENT = bytes(range(256)) * (10 * 1024 * 1024 // 256)


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 512}, logging={"access": {"enabled": False}})
class Service:
    @bentoml.api
    async def trivial(self, text: str) -> str:
        return text[::-1]

    @bentoml.api
    async def sleep(self, text: str) -> str:
        await asyncio.sleep(0.01)
        return text[::-1]

    @bentoml.api
    async def large(self, text: str) -> int:
        return len(text)

    @bentoml.api
    async def text(self, count: int) -> str:
        return "x" * count

    @bentoml.api
    async def stream(self, count: int) -> AsyncGenerator[str, None]:
        for number in range(count):
            await asyncio.sleep(0)
            yield f"token{number} "

    @bentoml.api
    def file(self, name: str, context: bentoml.Context) -> Path:
        path = Path(context.temp_dir, f"{name}.bin")
        path.write_bytes(CONTENT)
        return path
