"""Start the product as a user does: the installed command, in a project's directory, as a process of its own.

Shared by every suite that goes through the public door.
"""

import contextlib
import functools
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from programs import Program

DRIVETRAIN = Path(sys.executable).parent / "drivetrain"

# A shell that starts these tests in the background has it ignored, and what they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Project:
    """A directory with a cog.yaml and a predictor, and ways to use it."""

    root: Path
    python: Path = Path(sys.executable)
    environ: dict = field(default_factory=dict)

    def environment(self):
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
        path = os.pathsep.join([str(self.python.parent), "/usr/bin", "/bin"])
        self.temporary.mkdir(exist_ok=True)
        return {**kept, "PATH": path, "TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1", **self.environ}

    @property
    def temporary(self):
        """Where the product puts files that must be gone when it ends."""
        return self.root.parent / "temporary"

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def cli(self, *arguments, env="host", stdin="", cwd=None):
        """Run a command to its end."""
        realisation = ["--env", env] if env and arguments[0] in ("run", "predict", "train", "serve", "exec") else []
        command = [str(DRIVETRAIN), arguments[0], *realisation, *arguments[1:]]
        return subprocess.run(
            command, cwd=cwd or self.root, env=self.environment(), input=stdin, capture_output=True, text=True, timeout=120
        )

    def run(self, *arguments, **options):
        return self.cli("run", *arguments, **options)

    def start(self, *arguments, **options):
        """Start `run` and leave it running."""
        command = [str(DRIVETRAIN), "run", "--env", "host", *arguments]
        return Program(command, cwd=self.root, env=self.environment(), text=True, **options)

    @contextlib.contextmanager
    def serve(self, *arguments, ready=True, env="host"):
        """Serve on a free port, and see the server stopped at the end."""
        command = [str(DRIVETRAIN), "serve", "--port", "0", "--env", env, *arguments]
        process = subprocess.Popen(command, cwd=self.root, env=self.environment(), stderr=subprocess.PIPE, text=True)
        server = Server(process)
        try:
            server.base = server.wait_for("Listening on ").rpartition(" ")[2]
            if ready:
                server.wait_for("Ready after")
            import httpx  # the worker's tests run on Pythons that have none

            server.client = httpx.Client(base_url=server.base, timeout=60)
            yield server
        finally:
            if server.client is not None:
                server.client.close()
            process.terminate()
            try:
                assert process.wait(timeout=60) == 0, "".join(server.lines)
                assert not list(self.temporary.iterdir()), "the server left files behind"
            finally:
                process.kill()
                process.wait()
                server.reader.join()
                process.stderr.close()


@dataclass(frozen=True)
class Footprint:
    """What a process holds of its machine."""

    descriptors: int
    children: int
    megabytes: int


class Server:
    """A `drivetrain serve` under way; its stderr is read as it comes."""

    def __init__(self, process):
        self.process = process
        self.base = ""
        self.client = None
        self.lines = []
        self._queue = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, text):
        """The next line of stderr that holds the text."""
        while (line := self._queue.get(timeout=60)) is not None:
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"the server ended without saying {text!r}: {''.join(self.lines)}")

    def predict(self, _prefer=None, **inputs):
        """POST a prediction; the response's JSON."""
        headers = {"Prefer": _prefer} if _prefer else {}
        return self.client.post("/predictions", json={"input": inputs}, headers=headers).json()

    def health(self):
        return self.client.get("/health-check").json()

    def footprint(self):
        """What the server's process holds; Linux only."""
        process = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Footprint(
            descriptors=len(list((process / "fd").iterdir())),
            children=len((process / "task" / str(self.process.pid) / "children").read_text().split()),
            megabytes=int(status["VmRSS"].split()[0]) // 1024,
        )

    def wait_until(self, run_id, predicate):
        """Ask for a prediction until it is as wanted; each answer is a signal, so no time is slept."""
        while True:
            body = self.client.get(f"/predictions/{run_id}").json()
            if predicate(body):
                return body

    def wait_for_health(self, *statuses):
        while (status := self.health()["status"]) not in statuses:
            pass
        return status


def _make_project(directory, source, *, config="predict: predict.py:Predictor\n", **options):
    made = Project(directory / "project", **options)
    made.root.mkdir()
    made.write("predict.py", source)
    made.write("cog.yaml", config)
    made.environ.setdefault("DRIVETRAIN_CACHE_DIR", str(directory / "cache"))
    return made


@pytest.fixture(scope="session")
def make_project():
    """Make a project from a directory and a predictor's source, for a fixture that several tests share."""
    return _make_project


@pytest.fixture
def project(tmp_path):
    """Make a project from a predictor's source."""
    return functools.partial(_make_project, tmp_path)


class RegistryServer:
    """Debian's registry, on a port of its own, with its content below a directory."""

    #: What `htpasswd -B` makes of the user alice with the password wonderland.
    ACCOUNTS = "alice:$2b$05$lwuhBWCZNBmxn.YGW5vZLeHUDCpOlYTazdobcq2j048ZD3dIq/aMu\n"
    #: Debian has it in a package of this name.
    PROGRAM = shutil.which("docker-registry")

    def __init__(self, directory, *, has_accounts=False):
        self.directory = directory
        directory.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.host = f"localhost:{port}"
        (directory / "accounts").write_text(self.ACCOUNTS)
        auth = f"auth: {{htpasswd: {{realm: test, path: {directory}/accounts}}}}" if has_accounts else ""
        (directory / "config.yml").write_text(
            textwrap.dedent(
                f"""\
                version: 0.1
                log: {{accesslog: {{disabled: true}}, level: error}}
                storage: {{filesystem: {{rootdirectory: {directory}/content}}, delete: {{enabled: true}}}}
                http: {{addr: "127.0.0.1:{port}"}}
                {auth}
                """
            )
        )

    def __enter__(self):
        self._log = (self.directory / "log").open("wb")
        command = [self.PROGRAM, "serve", str(self.directory / "config.yml")]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        host, _, port = self.host.partition(":")
        while True:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port)), 5):
                return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(60)
        self._log.close()


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory):
    """A registry that anybody may read and write."""
    if RegistryServer.PROGRAM is None:
        pytest.skip("there is no docker-registry on this machine; scripts/test_tools.sh installs it")
    with RegistryServer(tmp_path_factory.mktemp("registry") / "server") as server:
        yield server


@pytest.fixture
def guarded_registry_server(tmp_path):
    """A registry that wants a user: alice, with the password wonderland."""
    if RegistryServer.PROGRAM is None:
        pytest.skip("there is no docker-registry on this machine; scripts/test_tools.sh installs it")
    with RegistryServer(tmp_path / "guarded", has_accounts=True) as server:
        yield server


BASE_CACHE = Path(__file__).parents[1] / ".cache" / "images"


def push_base(server, name, archive, variables=()):
    """Push a base image of one layer, an archive compressed with gzip, to a registry."""
    import gzip
    import hashlib

    from drivetrain.images.descriptor import LAYER, Descriptor
    from drivetrain.images.image import Image, Layer
    from drivetrain.images.reference import parse_reference
    from drivetrain.images.registry.credentials import CredentialStore
    from drivetrain.images.store import ImageStore
    from drivetrain.images.transfer import Transfers

    store = ImageStore(server.directory / "bases")
    with gzip.open(archive) as content:
        diff_id = f"sha256:{hashlib.sha256(content.read()).hexdigest()}"
    compressed = archive.read_bytes()
    layer = Layer(
        descriptor=Descriptor(media_type=f"{LAYER}+gzip", digest=store.put(compressed), size=len(compressed)),
        diff_id=diff_id,
        made_by="a base for tests",
    )
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": [path, *variables], "Cmd": ["sh"]}}
    images = []
    for architecture in ("amd64", "arm64"):
        image = Image(config={**config, "architecture": architecture}).with_layers([layer], created="1980-01-01T00:00:00Z")
        images.append(store.add_image(image))
    index = store.manifest(store.add_index(images).digest)
    reference = parse_reference(f"{server.host}/{name}")
    Transfers(store=store, credentials=CredentialStore({})).push(index, reference)
    return str(reference)


@pytest.fixture(scope="session")
def listed_base(registry_server, tmp_path_factory):
    """A base that can be built on and not be run: its layer names a Python 3.11, and holds nothing else."""
    import tarfile

    directory = tmp_path_factory.mktemp("listed-base")
    (directory / "python3.11").touch()
    with tarfile.open(directory / "base.tar.gz", "w:gz") as archive:
        archive.add(directory / "python3.11", "usr/bin/python3.11")
    return push_base(registry_server, "base/listed:1", directory / "base.tar.gz")


@pytest.fixture(scope="session")
def debian_base(registry_server):
    """A base that runs: Debian 12 with its Python 3.11, made once and kept in .cache."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("a base image is made with debootstrap, as root; scripts/test_tools.sh installs it")
    archive = BASE_CACHE / "debian-12.tar.gz"
    if not archive.exists():
        root = BASE_CACHE / "debian-12"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        options = ["--variant=minbase", "--include=python3,ca-certificates"]
        subprocess.run(["debootstrap", *options, "bookworm", root], check=True, stdout=subprocess.DEVNULL, timeout=280)
        for left in (root / "var/cache/apt/archives").glob("*.deb"):
            left.unlink()
        partial = archive.with_suffix(".partial")
        subprocess.run(["tar", "--sort=name", "--numeric-owner", "-C", root, "-czf", partial, "."], check=True)
        partial.rename(archive)
        shutil.rmtree(root)
    return push_base(registry_server, "base/debian:12", archive)
