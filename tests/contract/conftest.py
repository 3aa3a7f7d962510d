"""A proxy in front of a real registry that does on purpose what networks and registries do by accident."""

import base64
import contextlib
import http.client
import itertools
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

BLOCK = 65536


@dataclass
class Fault:
    """What goes wrong with the next requests that match, so many times."""

    method: str
    path: str
    times: int = 1
    status: int | None = None
    headers: dict | None = None
    cut_request_after: int | None = None
    cut_answer_after: int | None = None
    damage: bool = False
    skip: int = 0

    def takes(self, method, path):
        """Whether it befalls this request."""
        if self.times == 0 or self.method != method or re.search(self.path, path) is None:
            return False
        self.skip -= 1
        self.times -= self.skip < 0
        return self.skip < 0


class FaultyRegistry:
    """The proxy. It can also want a token, as hosted registries do, of a service that it is itself."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.faults = []
        self.requests = []
        self.password = None
        self.token_requests = []
        self.tokens_expire_after = None
        self._numbers = itertools.count()
        self._tokens = {}
        self._uploads = {}
        self.knows_cut_uploads = True
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.host = f"localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self, method, path, **what):
        self.faults.append(Fault(method, path, **what))

    def count(self, method, path):
        return sum(method == one and re.search(path, where) is not None for one, where in self.requests)

    def take_fault(self, method, path):
        with self._lock:
            self.requests.append((method, path))
            return next((fault for fault in self.faults if fault.takes(method, path)), None)

    def issue_token(self, query, authorization):
        """A token good for the scopes that were asked for; ``None`` for a wrong password."""
        self.token_requests.append(query.get("scope", []))
        if self.password is not None:
            given = base64.b64decode((authorization or "").removeprefix("Basic ")).decode()
            if given != f"alice:{self.password}":
                return None
        token = f"token-{next(self._numbers)}"
        self._tokens[token] = [set(query.get("scope", [])), self.tokens_expire_after]
        return token

    def accepts(self, authorization, scope):
        entry = self._tokens.get((authorization or "").removeprefix("Bearer "))
        if entry is None or scope not in {part for asked in entry[0] for part in _parts(asked)}:
            return False
        if entry[1] is not None:
            entry[1] -= 1
            return entry[1] >= 0
        return True

    def note_upload(self, headers):
        if "Docker-Upload-UUID" in headers and "Location" in headers:
            self._uploads[headers["Docker-Upload-UUID"]] = {name: headers[name] for name in ("Location", "Range") if headers[name]}

    def status_of_upload(self, path):
        """How far an upload has come. Debian's registry forgets it when a request is cut; the standard wants it known."""
        if not self.knows_cut_uploads:
            return None
        return next((status for identity, status in self._uploads.items() if identity in path), None)

    def _handler(self):
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                if self.path.startswith("/token"):
                    return self.give_token()
                if self.command == "GET" and (status := registry.status_of_upload(self.path)):
                    registry.take_fault(self.command, self.path)
                    return self.answer(204, status, b"")
                fault = registry.take_fault(self.command, self.path)
                if fault is not None and fault.status is not None:
                    return self.answer(fault.status, fault.headers or {}, b"{}", drain=True)
                if registry.password is not None and not self.is_known():
                    return None
                if fault is not None and fault.cut_request_after is not None:
                    return self.forward_and_cut(fault.cut_request_after)
                return self.forward(fault)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 (the server's own names)

            def is_known(self):
                match = re.match(r"/v2/(.+?)/(?:blobs|manifests)/", self.path)
                need = "push" if self.command in ("POST", "PUT", "PATCH") else "pull"
                scope = f"repository:{match[1]}:{need}" if match else ""
                if registry.accepts(self.headers.get("Authorization"), scope) or not scope:
                    return True
                wanted = f"repository:{match[1]}:pull" + (",push" if need == "push" else "")
                realm = f'Bearer realm="http://{registry.host}/token",service="test",scope="{wanted}"'
                self.answer(401, {"WWW-Authenticate": realm}, b"{}", drain=True)
                return False

            def give_token(self):
                token = registry.issue_token(parse_qs(urlsplit(self.path).query), self.headers.get("Authorization"))
                self.answer(200 if token else 401, {}, json.dumps({"token": token}).encode())

            def answer(self, status, headers, body, drain=False):
                if drain:
                    self.drain()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def drain(self):
                left = int(self.headers.get("Content-Length") or 0)
                while left > 0 and (block := self.rfile.read(min(BLOCK, left))):
                    left -= len(block)

            def blocks(self, limit=None):
                left = int(self.headers.get("Content-Length") or 0)
                left = left if limit is None else min(left, limit)
                while left > 0 and (block := self.rfile.read(min(BLOCK, left))):
                    left -= len(block)
                    yield block

            def forwarded_headers(self):
                skipped = ("host", "authorization", "connection")
                return {name: value for name, value in self.headers.items() if name.lower() not in skipped} | {
                    "Host": registry.host
                }

            def forward_and_cut(self, size):
                """Hand on the first bytes of a body, and vanish without an answer."""
                kept = b"".join(self.blocks(limit=size))
                begin = int(self.headers["Content-Range"].partition("-")[0])
                headers = {**self.forwarded_headers(), "Content-Length": str(len(kept))}
                headers["Content-Range"] = f"{begin}-{begin + len(kept) - 1}"
                connection = http.client.HTTPConnection(registry.upstream)
                connection.request(self.command, self.path, body=kept, headers=headers)
                registry.note_upload(connection.getresponse().headers)
                connection.close()
                self.reset()

            def forward(self, fault):
                connection = http.client.HTTPConnection(registry.upstream)
                try:
                    body = self.blocks() if self.headers.get("Content-Length") else None
                    connection.request(self.command, self.path, body=body, headers=self.forwarded_headers())
                    answer = connection.getresponse()
                    registry.note_upload(answer.headers)
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in ("transfer-encoding", "date"):
                            self.send_header(name, value)
                    self.end_headers()
                    self.relay(answer, fault)
                finally:
                    connection.close()

            def relay(self, answer, fault):
                left = fault.cut_answer_after if fault is not None else None
                while self.command != "HEAD" and (block := answer.read(BLOCK if left is None else min(BLOCK, left))):
                    if fault is not None and fault.damage:
                        block = bytes([block[0] ^ 255]) + block[1:]
                    self.wfile.write(block)
                    if left is not None:
                        left -= len(block)
                        if left <= 0:  # without a reset, which would take along what has not been read yet
                            self.wfile.flush()
                            self.close_connection = True
                            return

            def reset(self):
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            def handle(self):
                with contextlib.suppress(ConnectionError, BrokenPipeError):
                    super().handle()

        return Handler


def _parts(scopes):
    for scope in scopes.split(" "):
        kind, _, actions = scope.rpartition(":")
        for action in actions.split(","):
            yield f"{kind}:{action}"


@pytest.fixture
def faulty(registry_server):
    """The real registry behind the proxy."""
    with FaultyRegistry(registry_server.host) as registry:
        yield registry


@pytest.fixture
def stranger(registry_server):
    """Another registry, that wants a token of a service of its own."""
    with FaultyRegistry(registry_server.host) as registry:
        registry.password = "of its own users"
        yield registry
