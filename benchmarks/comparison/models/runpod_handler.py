"""The models as a RunPod handler, on the local server of its own package."""

import asyncio

import runpod


async def handler(job):
    given = job["input"]
    if given["model"] == "sleep":
        await asyncio.sleep(0.01)
    if given["model"] == "text":
        return "x" * given["count"]
    return len(given["text"]) if given["model"] == "large" else given["text"][::-1]


runpod.serverless.start({"handler": handler})
