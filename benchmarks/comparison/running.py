"""A server of some system under way, found ready by its first right answer."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import process_tree
from load import Request
from systems import CACHE, EXPECTED, System

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that has answered.

    Attributes:
        start_seconds: From the start of its command to its first right answer.
        log: What it writes; it is appended to, so that it may be cut.
    """

    system: System
    model: str
    process: int
    port: int
    request: Request
    start_seconds: float
    log: Path


@contextlib.contextmanager
def running(system: System, model: str, concurrency: int) -> Iterator[Server]:
    """Start a server and wait for its first right answer; end it and all its children afterwards.

    Raises:
        RuntimeError: It ended, or gave no right answer in time.
    """
    port = _free_port()
    command = system.command(model, concurrency, port, system.install())
    request = system.request(model)
    log = CACHE / "logs" / f"{system.name.replace(' ', '-')}-{model}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    log.unlink(missing_ok=True)
    with log.open("ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command.arguments,
            cwd=command.directory,
            env={**variables, **command.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_for_answer(process, port, request, EXPECTED[model], log)
            took = time.perf_counter() - began
            yield Server(system=system, model=model, process=process.pid, port=port, request=request, start_seconds=took, log=log)
        finally:
            _end(process)


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, request: Request, expected: tuple[bytes, ...], log: Path) -> None:
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    answer = b""
    while process.poll() is None and time.perf_counter() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = ask(port, request)
            if any(each in answer for each in expected):
                return
        time.sleep(0.003)
    raise RuntimeError(f"no right answer, but {answer[:300]!r}; the server's output is in {log}")


def ask(port: int, request: Request) -> bytes:
    """The body of the answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(request.method, request.path, request.body, {"Content-Type": "application/json", **request.headers})
        return connection.getresponse().read()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    family = process_tree.processes(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for member in family:  # some leave children behind
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()
