"""Runs in the environment of an official Python client: pieces of code come in by lines of JSON, what they return goes out.

Each piece is the body of a function; with ``await`` in it, of a coroutine function.
"""

import asyncio
import inspect
import json
import sys
import textwrap
import traceback
import warnings

import replicate

#: One for all pieces: clients keep connections, and connections belong to their loop.
LOOP = asyncio.new_event_loop()

NAMES = {"replicate": replicate, "json": json}


def run(code, arguments):
    source = textwrap.indent(textwrap.dedent(code), "    ")
    kind = "async def" if "await " in source or "async for" in source else "def"
    namespace = {**NAMES, **arguments}
    exec(f"{kind} piece():\n{source}", namespace)
    value = namespace["piece"]()
    return LOOP.run_until_complete(value) if inspect.isawaitable(value) else value


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        order = json.loads(line)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = {"value": run(order["code"], order["arguments"])}
            text = json.dumps(answer)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            described = {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
            text = json.dumps({"error": {**described, "status": getattr(error, "status", getattr(error, "status_code", None))}})
        answers.write(text + "\n")
        answers.flush()


main()
