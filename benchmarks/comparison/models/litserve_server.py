"""The models on LitServe."""

import asyncio
import sys

import litserve


class Trivial(litserve.LitAPI):
    def setup(self, device):
        pass

    async def decode_request(self, request):
        return request["text"]

    async def predict(self, text):
        return text[::-1]

    async def encode_response(self, output):
        return {"output": output}


class Sleep(Trivial):
    async def predict(self, text):
        await asyncio.sleep(0.01)
        return text[::-1]


class Large(Trivial):
    async def predict(self, text):
        return len(text)


class Letters(Trivial):
    async def decode_request(self, request):
        return request["count"]

    async def predict(self, count):
        return "x" * count


class Stream(litserve.LitAPI):
    def setup(self, device):
        pass

    async def decode_request(self, request):
        return request["count"]

    async def predict(self, count):
        for number in range(count):
            await asyncio.sleep(0)
            yield f"data: token{number} \n\n"

    async def encode_response(self, outputs):
        async for output in outputs:
            yield output


MODELS = {"trivial": Trivial, "sleep": Sleep, "large": Large, "text": Letters, "stream": Stream}

if __name__ == "__main__":
    model, port = sys.argv[1], int(sys.argv[2])
    api = MODELS[model](enable_async=True, stream=model == "stream")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
