"""Closed-loop load: so many clients, each asking again as soon as it has been answered, over the same connection where not said."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_WRK_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nREPORT {"requests": %d, "seconds": %f, "bytes": %d, "p50": %f, "p99": %f, "failed": %d, "broken": %d}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


#: A stream that has not ended so long after the time is up will not end.
_LATE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks.

    Attributes:
        body: The body; ``wrk`` sends the same one again and again.
        headers: Beside those of every request.
    """

    path: str
    body: bytes
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self, host: str) -> bytes:
        """The request as it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **self.headers}.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came of a load. Times in milliseconds; ``failed`` are answers other than 2xx and 3xx, and connections that broke.

    Attributes:
        received: Bytes of all that came, heads included.
    """

    per_second: float
    p50: float
    p99: float
    answered: int
    failed: int
    received: int


def wrk(port: int, request: Request, *, clients: int, seconds: float) -> Load:
    """Load by ``wrk``, which counts in whole seconds.

    Raises:
        RuntimeError: It is not installed, or failed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("this needs wrk: install it with 'apt-get install wrk' or your system's like")
    headers = {"Content-Type": "application/json", **request.headers}
    with tempfile.TemporaryDirectory() as directory:
        body, script = Path(directory, "body"), Path(directory, "load.lua")
        body.write_bytes(request.body)
        lines = [f'wrk.method = "{request.method}"', f'wrk.body = io.open("{body}", "rb"):read("*a")']
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
        script.write_text("\n".join(lines) + _WRK_REPORT)
        url = f"http://127.0.0.1:{port}{request.path}"
        command = [program, "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script), url]
        output = subprocess.run(command, check=False, capture_output=True, text=True)
    _, marker, report = output.stdout.partition("\nREPORT ")
    if not marker:
        raise RuntimeError(f"wrk failed: {output.stdout}{output.stderr}")
    told = json.loads(report)
    answered = told["requests"] - told["failed"]
    return Load(
        per_second=answered / told["seconds"],
        p50=told["p50"],
        p99=told["p99"],
        answered=answered,
        failed=told["failed"] + told["broken"],
        received=told["bytes"],
    )


@dataclass(frozen=True, kw_only=True)
class Streams:
    """What came of a load of streams. Times in milliseconds; tokens are those of whole streams, up to the end of the last one."""

    tokens_per_second: float
    first_token_p50: float
    first_token_p99: float
    whole_p50: float
    finished: int
    failed: int


def stream(
    port: int, request: Request, marker: bytes, tokens: int, *, clients: int, seconds: float, keeps_alive: bool = True
) -> Streams:
    """Load by clients that read streams; a stream without all its tokens has failed.

    Args:
        port: Of the server.
        request: What to ask.
        marker: Stands once in what is sent for each token, and nowhere else.
        tokens: How many each stream must have.
        clients: How many streams at once.
        seconds: How long to begin new ones.
        keeps_alive: Whether a client asks again over the same connection.
    """
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        ask = _Ask(port, request.encode(f"127.0.0.1:{port}"), marker, tokens, time.perf_counter() + seconds, keeps_alive)
        return loop.run_until_complete(_stream(ask, clients))
    finally:
        loop.close()


@dataclass(frozen=True)
class _Ask:
    """What the clients of a load ask; times are those of ``perf_counter``."""

    port: int
    request: bytes
    marker: bytes
    tokens: int
    until: float
    keeps_alive: bool


async def _stream(ask: _Ask, clients: int) -> Streams:
    began = time.perf_counter()
    readers = [_StreamReader(ask) for _ in range(clients)]
    for reader in readers:
        await reader.connect()
    await asyncio.wait([reader.ended for reader in readers], timeout=ask.until - began + _LATE_SECONDS)
    for reader in readers:
        reader.give_up()
    # Until the last answer, not until those were given up that never came: that nobody waited for them is not the server's doing.
    took = max(reader.answered_at for reader in readers) - began
    firsts = sorted(time for reader in readers for time in reader.first_tokens)
    wholes = sorted(time for reader in readers for time in reader.wholes)
    return Streams(
        tokens_per_second=len(wholes) * ask.tokens / took if wholes else 0.0,
        first_token_p50=percentile(firsts, 50),
        first_token_p99=percentile(firsts, 99),
        whole_p50=percentile(wholes, 50),
        finished=len(wholes),
        failed=sum(reader.failed for reader in readers),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """A percentile of numbers in order; not a number when there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else float("nan")


class _StreamReader(asyncio.Protocol):
    """One client: counts markers in what comes, and asks again at the end of each answer until the time is up.

    All servers here send streams in chunks, so an answer ends with the empty chunk.
    """

    def __init__(self, ask: _Ask) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.first_tokens: list[float] = []
        self.wholes: list[float] = []
        self.failed = 0
        self.answered_at = 0.0
        self._what = ask
        self._overlap = max(len(ask.marker), 5) - 1
        self._connecting: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Begin a connection, and ask."""
        await self._loop.create_connection(lambda: self, "127.0.0.1", self._what.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._seen = 0
        self._tail = b""
        self._asked = time.perf_counter()
        self._is_answered = False
        self._transport.write(self._what.request)

    def data_received(self, data: bytes) -> None:
        marker, text = self._what.marker, self._tail + data
        new = text.count(marker) - self._tail.count(marker)
        if new and not self._seen:
            self.first_tokens.append((time.perf_counter() - self._asked) * 1e3)
        self._seen += new
        self._tail = text[-self._overlap :]
        if text.endswith(b"0\r\n\r\n"):
            self._finish()

    def _finish(self) -> None:
        self._is_answered = True
        self.answered_at = time.perf_counter()
        if self._seen == self._what.tokens:
            self.wholes.append((self.answered_at - self._asked) * 1e3)
        else:
            self.failed += 1
        if self._what.keeps_alive and self._has_time:
            self._ask()
        else:
            self._transport.close()

    @property
    def _has_time(self) -> bool:
        return time.perf_counter() < self._what.until

    def give_up(self) -> None:
        """Count an answer that has not ended as failed, and hang up."""
        if not self.ended.done():
            self.failed += 1
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._is_answered and self._has_time:
            self.failed += 1
        if self._is_answered and self._has_time:
            self._connecting = self._loop.create_task(self.connect())
        elif not self.ended.done():
            self.ended.set_result(None)
