"""A bare ASGI application on uvicorn: the least that an HTTP server in Python can do with the same request."""

import json
import sys

import uvicorn


async def application(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = json.dumps({"output": json.loads(body)["text"][::-1]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
