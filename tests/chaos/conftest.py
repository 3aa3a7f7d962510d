"""What every chaos test needs: to see processes from outside, a receiver of webhooks, and what must hold when the dust has settled."""

import contextlib
import json
import os
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TERMINAL = ("succeeded", "failed", "canceled")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason="looks at processes through /proc"))


class Processes:
    """The processes that a project's server started, found by an environment variable that all of them inherit."""

    def __init__(self, project):
        self._mark = f"TMPDIR={project.temporary}".encode()

    def all(self):
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                with contextlib.suppress(OSError):
                    if self._mark in (directory / "environ").read_bytes().split(b"\0"):
                        found.append(int(directory.name))
        return found

    def workers_of(self, server):
        """The server's workers that are alive, whether it has started them or a template has."""
        return [process for process in self.all() if self._is_worker(process) and process != self.template_of(server)]

    def template_of(self, server):
        """The process that the server's workers are forked from, if there is one."""
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        return next((int(child) for child in children if b"template" in self._arguments(child)), None)

    def kill(self, pid, signal):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal)

    def _is_worker(self, pid):
        """Each leads its session; what a model forks runs the same program."""
        arguments = self._arguments(pid)
        with contextlib.suppress(ProcessLookupError):
            return len(arguments) > 1 and arguments[1].endswith(b"drivetrain_worker") and os.getsid(pid) == pid
        return False

    @staticmethod
    def _arguments(pid):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return []


@pytest.fixture
def processes():
    return Processes


class Receiver:
    """Takes webhooks: at ``/slow`` after a while, at ``/failing`` only every other time, elsewhere at once.

    Attributes:
        bodies: What came, by prediction.
        deliveries: Status and delivery id of what came, by prediction.
    """

    def __init__(self):
        self.bodies = defaultdict(list)
        self.deliveries = defaultdict(list)
        failed = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                delivery = self.headers["webhook-id"]
                if self.path == "/slow":
                    time.sleep(2)
                fails = self.path == "/failing" and delivery not in failed
                if fails:
                    failed.add(delivery)
                else:
                    receiver.bodies[body["id"]].append(body)
                    receiver.deliveries[body["id"]].append((body["status"], delivery))
                with contextlib.suppress(OSError):
                    self.send_response(500 if fails else 200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def settled():
    """Wait until something is so, at most a while; the last resort where nothing gives a signal."""

    def wait(predicate, seconds=20):
        deadline = time.monotonic() + seconds
        while not (found := predicate()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    return wait
