"""The official clients, unmodified, each in an environment of its own, and a platform for them to talk to."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
#: Clients are installed once for all runs of the tests.
CACHE = ROOT / ".cache" / "clients"
HERE = Path(__file__).parent
UV = Path(sys.executable).parent / "uv"
DRIVETRAIN = Path(sys.executable).parent / "drivetrain"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

HELLO = """
    import time
    from typing import Optional
    from cog import BasePredictor, Input, Path, current_scope

    class Predictor(BasePredictor):
        def setup(self, weights: Optional[Path] = None):
            self.greeting = weights.read_text() if weights else "hello"

        def predict(self, text: str = Input(description="Whom to greet"), wait_for: str = "", fail: bool = False) -> str:
            print("  50%|#####     | 1/2 [00:00<00:00]\\r", end="", flush=True)
            while wait_for and not Path(wait_for).exists():
                time.sleep(0.01)
            print(" 100%|##########| 2/2 [00:00<00:00]", flush=True)
            if fail:
                raise ValueError("it was told to")
            current_scope().record_metric("letters", len(text))
            return f"{self.greeting} {text}"
"""
TRAIN = """
    from cog import BaseModel, Input, Path

    class TrainingOutput(BaseModel):
        weights: Path

    def train(greeting: str = Input(description="What to say")) -> TrainingOutput:
        print("learning")
        path = Path("weights.txt")
        path.write_text(greeting)
        return TrainingOutput(weights=path)
"""
STREAM = """
    import time
    from cog import BasePredictor, ConcatenateIterator, Path

    class Predictor(BasePredictor):
        def predict(self, text: str, wait_for: str = "", fail: bool = False) -> ConcatenateIterator[str]:
            for number, word in enumerate(text.split(" ")):
                if number:
                    while wait_for and not Path(wait_for).exists():
                        time.sleep(0.01)
                    if fail:
                        raise ValueError("it was told to")
                yield word if not number else " " + word
"""
IMAGE = """
    from cog import BasePredictor, Path

    class Predictor(BasePredictor):
        def predict(self, image: Path, size: int = 0) -> Path:
            output = Path("output.png")
            output.write_bytes(image.read_bytes() + bytes(size))
            return output
"""
FRAMES = """
    from typing import Iterator
    from cog import BasePredictor, Path

    class Predictor(BasePredictor):
        def predict(self, count: int = 2) -> Iterator[Path]:
            for number in range(count):
                path = Path(f"frame{number}.txt")
                path.write_text(f"frame {number}")
                yield path
"""


class Platform:
    """A platform under way, as a user runs it."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.options = options
        self.environ = {
            **{name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ},
            "HOME": str(directory / "home"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "DRIVETRAIN_CACHE_DIR": str(directory / "cache"),
        }
        (directory / "home").mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        command = [str(DRIVETRAIN), "up", "--state", str(self.directory / "state"), "--port", "0", "--owner", "acme", *self.options]
        self.process = subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.directory
        )
        self.lines = []
        self._queue = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.http = httpx.Client(timeout=60)
        try:
            self.key = self.wait_for("API key of").rpartition(" ")[2]
            self.url = self.wait_for("Listening on ").partition("Listening on ")[2].split(",")[0]
        except BaseException:
            self.__exit__()
            raise
        self.http.base_url = self.url
        self.http.headers["Authorization"] = f"Bearer {self.key}"
        return self

    def __exit__(self, *_):
        self.http.close()
        self.process.terminate()
        try:
            assert self.process.wait(timeout=60) == 0, "".join(self.lines)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            self.process.stdout.close()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, text):
        """The next line that holds the text."""
        while (line := self._queue.get(timeout=60)) is not None:
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"the platform ended without saying {text!r}: {''.join(self.lines)}")

    def cli(self, *arguments, cwd=None):
        """Run a command to its end; what it printed."""
        result = subprocess.run(
            [str(DRIVETRAIN), *arguments], env=self.environ, cwd=cwd or self.directory, capture_output=True, text=True, timeout=240
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def deploy(self, name, files, config="predict: predict.py:Predictor\n", *options):
        """Deploy a project under acme's name."""
        root = self.directory / name
        root.mkdir(exist_ok=True)
        for file, text in files.items():
            (root / file).write_text(textwrap.dedent(text))
        (root / "cog.yaml").write_text(f'build:\n  python_version: "{PYTHON}"\n{config}')
        return self.cli("deploy", str(root), "--name", f"acme/{name}", *options)

    def add_key(self, owner, scope="call"):
        """Another key."""
        return json.loads(self.cli("keys", "add", "--owner", owner, "--scope", scope, "--name", "test", "--json"))["key"]

    def version(self, name):
        """The newest version of a model of acme's."""
        return self.http.get(f"/v1/models/acme/{name}").raise_for_status().json()["latest_version"]["id"]


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """A platform with models of each kind."""
    with Platform(tmp_path_factory.mktemp("platform"), "--allow-private-addresses") as running:
        running.deploy(
            "hello",
            {"predict.py": HELLO, "train.py": TRAIN},
            "predict: predict.py:Predictor\ntrain: train.py:train\n",
            "--max",
            "2",
        )
        running.deploy("stream", {"predict.py": STREAM})
        running.deploy("image", {"predict.py": IMAGE})
        running.deploy("frames", {"predict.py": FRAMES})
        yield running


@pytest.fixture
def signal_file(tmp_path):
    """A file that models wait for; writing it lets them go on, and they go on in any case when the test ends."""
    path = tmp_path / "go"
    yield path
    path.touch()


class ClientError(Exception):
    """What a client raised."""

    def __init__(self, error):
        super().__init__(f"{error['type']}: {error['message']}\n{error['traceback']}")
        self.type = error["type"]
        self.message = error["message"]
        self.status = error["status"]


class Driver:
    """A client's process; see ``driver.py`` and ``driver.mjs``."""

    def __init__(self, command, environ):
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, code, **arguments):
        """Run a piece of code; what it returns."""
        self.begin(code, **arguments)
        return self.finish()

    def begin(self, code, **arguments):
        self._process.stdin.write(json.dumps({"code": code, "arguments": arguments}) + "\n")
        self._process.stdin.flush()

    def finish(self):
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["value"]

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        finally:
            self._process.kill()
            self._process.stdout.close()


def _install(folder, *commands):
    """Fill a folder by commands, once."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
        if result.returncode:
            pytest.skip(f"the client cannot be installed: {(result.stderr or result.stdout).strip()[-300:]}")
    (folder / "complete").touch()


def _environ(platform, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REPLICATE", "DRIVETRAIN"))}
    return {**kept, "REPLICATE_API_TOKEN": platform.key, "REPLICATE_POLL_INTERVAL": "0.05", **more}


def _python(name, requirement, python):
    folder = CACHE / name
    target = folder / "venv" / "bin" / "python"
    pip = [str(UV), "pip", "install", "--quiet", "--prerelease", "allow", "--python", str(target), requirement]
    _install(folder, [str(UV), "venv", "--quiet", "--python", python, "venv"], pip)
    return [str(target), str(HERE / "driver.py")]


@pytest.fixture(scope="session")
def python_1(platform):
    """Replicate's Python client of the first generation, which appends ``/v1`` to its base URL."""
    # Not on Python 3.14 and later: it uses what pydantic has no more there.
    command = _python("replicate-1.0.7", "replicate==1.0.7", ">=3.9,<3.14")
    driver = Driver(command, _environ(platform, REPLICATE_BASE_URL=platform.url))
    with contextlib.closing(driver):
        yield driver


@pytest.fixture(scope="session")
def python_2(platform):
    """The client of the second generation, whose base URL ends with ``/v1``."""
    command = _python("replicate-2.0.0b4", "replicate==2.0.0b4", PYTHON)
    driver = Driver(command, _environ(platform, REPLICATE_BASE_URL=f"{platform.url}/v1"))
    with contextlib.closing(driver):
        yield driver


@pytest.fixture(scope="session")
def javascript(platform):
    """Replicate's JavaScript client."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node or npm on this machine")
    folder = CACHE / "replicate-js-1.4.0"
    _install(folder, ["npm", "init", "--yes"], ["npm", "install", "--no-audit", "--no-fund", "replicate@1.4.0"])
    driver = Driver(
        ["node", str(HERE / "driver.mjs")],
        _environ(platform, REPLICATE_BASE_URL=f"{platform.url}/v1", CLIENT_FOLDER=str(folder)),
    )
    with contextlib.closing(driver):
        yield driver


class Receiver(ThreadingHTTPServer):
    """Takes webhooks."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received = queue.Queue()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook?for=me"

    def until(self, status):
        """Everything that came, up to the first message of this status."""
        messages = []
        while not messages or messages[-1]["prediction"]["status"] != status:
            messages.append(self.received.get(timeout=60))
        return messages


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.put({"path": self.path, "headers": headers, "body": body, "prediction": json.loads(body)})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """A webhook's receiver."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def many_predictions(platform):
    """More predictions than a page holds; their ids, newest first."""
    ids = [
        platform.http.post("/v1/models/acme/hello/predictions", json={"input": {"text": str(number)}})
        .raise_for_status()
        .json()["id"]
        for number in range(105)
    ]
    return ids[::-1]
