"""A real HTTP server for what the product sends: webhooks, uploads, spans."""

import gzip
import json
import queue
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """A real HTTP server that keeps what it is sent and answers as it is told."""

    def __init__(self):
        self.requests = queue.Queue()
        self.statuses = []
        self.headers = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b"".join(self.chunks())
                receiver.requests.put((self.command, self.path, dict(self.headers), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_PUT = do_POST  # noqa: N815 (the standard library's names)

            def chunks(self):
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self):
        return self.requests.get(timeout=30)

    def take_events(self):
        """Bodies of webhooks up to the completion."""
        bodies = [json.loads(self.take()[3])]
        while bodies[-1]["status"] in ("starting", "processing"):
            bodies.append(json.loads(self.take()[3]))
        return bodies
