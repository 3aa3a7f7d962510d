"""Talks to a platform's native API. Slow to import, so only imported by what does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from drivetrain import __version__
from drivetrain.cli.connection import Connection
from drivetrain.model.errors import BadRequest, DrivetrainError, Misuse, OutsideFailed

_PREFIX = "/api/v1"

#: Streams send a sign of life every 15 seconds.
_STREAM_TIMEOUT = httpx.Timeout(30, read=60, write=None)


class PlatformRefused(BadRequest):
    """The platform does not do what was asked."""

    code = "platform_refused"


class PlatformFailed(OutsideFailed):
    """The platform could not do what was asked, or does not answer.

    Attributes:
        is_lost: Whether it was not heard of at all, so that asking again may help.
    """

    code = "platform_failed"
    is_lost = False


@dataclass(frozen=True, kw_only=True)
class ServerSentEvent:
    """One event of a stream."""

    id: str | None
    name: str
    data: Any


class PlatformClient:
    """One platform, seen from a command.

    Args:
        connection: Which, and the key.
    """

    def __init__(self, connection: Connection) -> None:
        self.url = connection.url
        self._has_answered = False
        headers = {"User-Agent": f"drivetrain/{__version__}"}
        if connection.key is not None:
            headers["Authorization"] = f"Bearer {connection.key}"
        # What stands in the environment about proxies is for the wide world; a platform on this machine is not behind them.
        is_local = httpx.URL(connection.url).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=connection.url, headers=headers, timeout=httpx.Timeout(30, read=None), trust_env=not is_local
        )

    def __enter__(self) -> PlatformClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """GET; the answer's JSON."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        """POST a JSON value."""
        return self._call("POST", path, body, query=query, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        """PUT a JSON value."""
        return self._call("PUT", path, body)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH with a JSON value."""
        return self._call("PATCH", path, body)

    def delete(self, path: str, **query: Any) -> Any:
        """DELETE."""
        return self._call("DELETE", path, query=query)

    def upload(self, name: str, content_type: str, content: Iterable[bytes]) -> dict[str, Any]:
        """Store a file; what is known of it, its URL above all."""
        request = self._http.build_request(
            "POST", f"{_PREFIX}/files", params={"name": name}, content=content, headers={"Content-Type": content_type}
        )
        with self._answering(request) as response:
            answer: dict[str, Any] = _read_json(response)
            return answer

    def download(self, url: str) -> Iterator[bytes]:
        """The content of one of the platform's files."""
        request = self._http.build_request("GET", url)
        request.headers.pop("Authorization", None)  # the URL is the right to it, wherever it leads
        with self._answering(request) as response:
            yield from response.iter_bytes()

    @contextmanager
    def lines(self, method: str, path: str, content: Iterable[bytes] | None = None, **query: Any) -> Iterator[Iterator[str]]:
        """The lines of a streamed answer, as they come."""
        request = self._http.build_request(
            method, _PREFIX + path, params=_known(query), content=content, timeout=httpx.Timeout(30, read=None, write=None)
        )
        with self._answering(request) as response:
            yield _lines_of(response)

    @contextmanager
    def events(self, path: str, *, after: str | None = None) -> Iterator[Iterator[ServerSentEvent]]:
        """Server-sent events, as they come, those after one of them if its id is given."""
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        request = self._http.build_request("GET", _PREFIX + path, headers=headers, timeout=_STREAM_TIMEOUT)
        with self._answering(request) as response:
            yield _events_of(_lines_of(response))

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        request = self._http.build_request(method, _PREFIX + path, params=_known(query or {}), json=body, headers=headers)
        with self._answering(request) as response:
            return _read_json(response)

    @contextmanager
    def _answering(self, request: httpx.Request) -> Iterator[httpx.Response]:
        try:
            response = self._http.send(request, stream=True)
        except httpx.ConnectError as error:
            silent = PlatformFailed(
                f"no platform answers at '{self.url}': {error}",
                hint="'drivetrain up' starts one; --platform URL says where another one is",
            )
            silent.is_lost = self._has_answered
            raise silent from error
        except httpx.HTTPError as error:
            raise self._lost(error) from error
        self._has_answered = True
        try:
            if not response.is_success:
                response.read()
                raise _refusal(response)
            yield response
        except httpx.HTTPError as error:
            raise self._lost(error) from error
        finally:
            response.close()

    def _lost(self, error: httpx.HTTPError) -> PlatformFailed:
        broken = PlatformFailed(f"the connection to '{self.url}' broke: {str(error) or type(error).__name__}")
        broken.is_lost = True
        return broken


def error_of(described: Mapping[str, Any], *, status: int = 400) -> DrivetrainError:
    """The error that the platform described."""
    message = described.get("message") or "the platform gave no reason"
    detail = described.get("detail")
    findings = [
        f"{finding['place'] + ': ' if finding.get('place') else ''}{finding['problem']}"
        + (f"; {finding['remedy']}" if finding.get("remedy") else "")
        for finding in described.get("findings", ())
    ]
    text = "\n".join([*([detail] if detail else []), *findings]) or None
    kind = PlatformFailed if status >= 500 else Misuse if described.get("code") == "invalid_inputs" else PlatformRefused
    return kind(message, hint=described.get("hint"), detail=text)


def _refusal(response: httpx.Response) -> DrivetrainError:
    try:
        return error_of(response.json()["error"], status=response.status_code)
    except (ValueError, KeyError, TypeError, AttributeError):
        return PlatformFailed(
            f"'{response.request.url.copy_with(query=None)}' answered {response.status_code} and no sentence of ours",
            hint="is there really a platform at this address?",
        )


def _read_json(response: httpx.Response) -> Any:
    body = response.read()
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        raise PlatformFailed(
            f"'{response.request.url.copy_with(query=None)}' did not answer with JSON",
            hint="is there really a platform at this address?",
        ) from None


def _known(query: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value is not None}


def _lines_of(response: httpx.Response) -> Iterator[str]:
    """Lines ended by line feeds alone: other line ends belong to the text."""
    rest = b""
    for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _events_of(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    identifier: str | None = None
    name = ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield ServerSentEvent(id=identifier, name=name or "message", data=json.loads("\n".join(data)))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            identifier = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
