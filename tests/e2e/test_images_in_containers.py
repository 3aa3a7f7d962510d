"""Images in real containers: built directly and with engines, run, served, predicted with, stopped."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest
from programs import Program

from drivetrain.environments.installed import installed_interpreters
from drivetrain.images.archive import Compression, link, write_layer
from drivetrain.images.descriptor import platform_of
from drivetrain.images.image import BASE_NAME
from drivetrain.images.reference import parse_reference
from drivetrain.images.registry.credentials import CredentialStore
from drivetrain.images.store import ImageStore
from drivetrain.images.transfer import Transfers
from drivetrain.settings import read_settings

pytestmark = pytest.mark.slow

PREDICTOR = """
import os
import subprocess
import sys

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self):
        self.word = "hello"

    def predict(self, text: str = Input(description="Whom to greet"), image: Path = Input(default=None)) -> str:
        print("greeting", text)
        size = len(image.read_bytes()) if image else 0
        return f"{self.word} {text} {size}"
"""

#: What this machine may give to containers, where it is one itself.
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=2048:2048"]\n[engine]\nruntime = "runc"\n'


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    """Environment variables with which podman and buildah keep to themselves, in storage of their own."""
    if os.geteuid() != 0:
        pytest.skip("containers of tests are run as root")
    if shutil.which("podman") is None or shutil.which("buildah") is None or shutil.which("runc") is None:
        pytest.skip("there is no podman, buildah or runc on this machine; scripts/test_tools.sh installs them")
    directory = tmp_path_factory.mktemp("engines")
    (directory / "containers.conf").write_text(LIMITS)
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
    )
    environ = {
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
    }
    if (problem := _probe({**os.environ, **environ}, directory)) is not None:
        pytest.skip(f"podman cannot run containers here: {problem}")
    yield environ
    subprocess.run(["podman", "system", "reset", "--force"], env={**os.environ, **environ}, capture_output=True, check=False)


def _probe(environ, directory):
    """Why podman cannot run a container here; ``None`` if it can."""
    archive = directory / "probe.tar"
    subprocess.run(["tar", "-cf", archive, "--files-from", "/dev/null"], check=True)
    subprocess.run(["podman", "import", archive, "localhost/probe"], env=environ, capture_output=True, check=False)
    done = subprocess.run(["podman", "run", "--rm", "localhost/probe", "/nothing"], env=environ, capture_output=True, text=True)
    # The image is empty: the runtime got as far as to look for the program, or it did not.
    return None if done.returncode == 127 else done.stderr.strip()[-300:]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("images-in-containers") / "cache"


@pytest.fixture
def model(project, debian_base, engines, cache):
    made = project(PREDICTOR, config=f'build: {{python_version: "3.11", base: "{debian_base}"}}\npredict: predict.py:Predictor\n')
    made.environ.update({"DRIVETRAIN_CACHE_DIR": str(cache), **engines, "PATH": os.environ["PATH"]})
    if certificates := os.environ.get("SSL_CERT_FILE"):
        made.environ["COG_CA_CERT"] = certificates  # of whatever stands between this machine and the package index
    return made


def run(project, *arguments, status=0, **options):
    done = project.cli(*arguments, env=None, **options)
    assert done.returncode == status, done.stderr
    return done


def podman(project, *arguments):
    done = subprocess.run(["podman", *arguments], env=project.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Container:
    """A container that podman runs; its server is asked over HTTP."""

    def __init__(self, project, image, *arguments, flags=()):
        self.project = project
        port = free_port()
        publish = ["--publish", f"127.0.0.1:{port}:5000"]
        self.identity = podman(project, "run", "--detach", *publish, *flags, image, *arguments)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        podman(self.project, "rm", "--force", "--time", "0", self.identity)

    def ready(self):
        while True:
            try:
                if self.client.get("/health-check").json()["status"] == "READY":
                    return self
            except httpx.TransportError:
                state = podman(self.project, "inspect", "--format", "{{.State.Status}}", self.identity)
                assert state in ("running", "created", "initialized"), podman(self.project, "logs", self.identity)

    def predict(self, **inputs):
        return self.client.post("/predictions", json={"input": inputs}).json()

    def run(self, *command):
        return podman(self.project, "exec", self.identity, *command)

    def stop(self):
        """Stop it as engines do; its exit status."""
        podman(self.project, "stop", "--time", "20", self.identity)
        return int(podman(self.project, "inspect", "--format", "{{.State.ExitCode}}", self.identity))


@pytest.fixture
def loaded(model):
    """The image in podman, by its name there."""
    run(model, "build", "-t", "greeter", "--output", str(model.root.parent / "layout.tar"))
    return load(model, model.root.parent / "layout.tar")


def load(project, layout):
    """Load an OCI layout into podman; its name there."""
    return podman(project, "load", "--quiet", "--input", layout).split()[-1]


# Built directly


def test_the_server_in_a_container_predicts_and_ends_in_order(model, loaded):
    with Container(model, loaded).ready() as container:
        answer = container.predict(text="you")
        assert (answer["output"], answer["logs"]) == ("hello you 0", "greeting you\n")
        assert container.run("/opt/drivetrain/bin/python", "-IS", "/opt/drivetrain/health.py") == "READY"
        assert container.stop() == 0


def home_of(version):
    """Where a Python is that is not the distribution's."""
    for interpreter in installed_interpreters(read_settings(os.environ)):
        home = interpreter.path.resolve().parents[1]
        if f"{interpreter}.".startswith(f"{version}.") and home != Path("/usr"):
            return home
    pytest.skip(
        f"there is no Python {version} on this machine beside the distribution's, which is linked with what the base has not"
    )


@pytest.fixture
def older_base(registry_server, debian_base, tmp_path):
    """The base with a Python 3.9, a link to this machine's; and the flag with which a container finds that."""
    home = home_of("3.9")
    store = ImageStore(tmp_path / "older")
    moves = Transfers(store=store, credentials=CredentialStore({}))
    reference = parse_reference(debian_base)
    with moves.registry(reference) as registry:
        manifest = moves.fetch_manifest(reference, registry, platform_of("amd64"))
    entries = [link("usr/local/bin/python3.9", f"{home}/bin/python3.9")]
    layer = write_layer(entries, store, compression=Compression.GZIP, made_by="a link to a Python")
    image = store.image(manifest).with_layers([layer], created="1980-01-01T00:00:00Z").with_annotations({BASE_NAME: debian_base})
    named = parse_reference(f"{registry_server.host}/base/older:1")
    moves.push(store.manifest(store.add_image(image).digest), named)
    return str(named), f"{home}:{home}:ro"


@pytest.fixture
def fetched_python(tmp_path):
    """A list of Pythons for uv to fetch that has one, made of this machine's; and the flag for what it links to."""
    home = home_of("3.12")
    left_out = {"__pycache__", "site-packages", "test"}
    with tarfile.open(tmp_path / "python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(home / "bin" / "python3.12", "python/bin/python3.12")
        archive.add(
            home / "lib" / "python3.12",
            "python/lib/python3.12",
            filter=lambda info: None if left_out & set(info.name.split("/")) else info,
        )
    content = (tmp_path / "python.tar.gz").read_bytes()
    system = {"os": "linux", "libc": "gnu", "arch": {"family": "x86_64", "variant": None}}
    version = {"name": "cpython", "major": 3, "minor": 12, "patch": 1, "prerelease": "", "variant": None, "build": None}
    place = {"url": f"file://{tmp_path}/python.tar.gz", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "pythons.json").write_text(json.dumps({"cpython-3.12.1-linux-x86_64-gnu": {**version, **system, **place}}))
    return str(tmp_path / "pythons.json"), f"{home}/lib:{home}/lib:ro"


def test_beside_a_python_that_is_too_old_for_the_server_it_has_one_of_its_own(model, older_base, fetched_python):
    base, older = older_base
    pythons, ours = fetched_python
    model.environ["UV_PYTHON_DOWNLOADS_JSON_URL"] = pythons
    model.write("cog.yaml", f'build: {{python_version: "3.9", base: "{base}"}}\npredict: predict.py:Predictor\n')
    run(model, "build", "-t", "older", "--output", str(model.root.parent / "layout.tar"))
    image = load(model, model.root.parent / "layout.tar")
    with Container(model, image, flags=("--volume", older, "--volume", ours)).ready() as container:
        assert container.predict(text="you")["output"] == "hello you 0"
        version = "import sys; print('%d.%d' % sys.version_info[:2])"
        assert container.run("python", "-c", version) == "3.9"
        assert container.run("/opt/drivetrain/bin/python", "-c", version) == "3.12"
        assert container.stop() == 0


def test_the_first_process_buries_those_that_lost_their_parents(model, loaded):
    with Container(model, loaded).ready() as container:
        orphan = container.run("sh", "-c", "sh -c 'exit 3' >/dev/null & echo $!")
        while "there" in container.run("sh", "-c", f"[ -e /proc/{orphan} ] && echo there || true"):
            pass  # one that nobody buries stays for ever


def test_it_needs_neither_root_nor_a_disk_that_can_be_written_to(model, loaded):
    flags = ("--read-only", "--user", "1234", "--cap-drop", "all")
    with Container(model, loaded, flags=flags).ready() as container:
        assert container.predict(text="you")["output"] == "hello you 0"
        assert container.run("id", "-u") == "1234"
        assert container.stop() == 0


def test_the_command_line_of_cog_works_as_the_first_process_too(model, loaded):
    words = ("-m", "cog.server.http", "--host", "0.0.0.0", "--await-explicit-shutdown", "true")
    with Container(model, loaded, *words, flags=("--entrypoint", "python", "--env", "PORT=5000")).ready() as container:
        assert "/opt/drivetrain/init.py" in container.run("cat", "/proc/1/cmdline")
        assert container.client.post("/shutdown").status_code == 200
        podman(model, "wait", container.identity)


def test_the_two_worlds_share_no_packages(model, loaded):
    with Container(model, loaded, "sleep", "60") as container:
        seen = container.run("python", "-c", "import cog, pydantic; print(cog.__file__, pydantic.__file__)")
        assert seen.split()[0].startswith("/opt/drivetrain/lib/python3.11/site-packages/drivetrain_worker/authoring/cog/")
        assert seen.split()[1].startswith("/opt/model/")
        question = "import importlib.util as u; print([name for name in ('cog', 'pydantic') if u.find_spec(name)])"
        assert container.run("/opt/drivetrain/bin/python", "-I", "-c", question) == "[]"
        assert container.run("pwd") == "/src"


def test_run_predicts_with_an_image(model, tmp_path):
    run(model, "build", "-t", "greeter")
    (tmp_path / "photo.jpg").write_bytes(b"12345")
    done = run(model, "run", "greeter", "-i", "text=you", "-i", f"image=@{tmp_path}/photo.jpg")
    assert done.stdout == "hello you 5\n"
    assert "greeting you" in done.stderr
    assert podman(model, "ps", "--all", "--quiet") == ""


def test_build_hands_the_image_to_the_engine(model):
    run(model, "build", "-t", "handed", "--load")
    assert podman(model, "run", "--rm", "handed", "python", "-c", "print(6 * 7)") == "42"


def test_run_checks_the_inputs_before_anything_starts(model):
    run(model, "build", "-t", "greeter")
    assert "did you mean 'text'?" in run(model, "run", "greeter", "-i", "txt=you", status=2).stderr


def test_run_tells_of_a_set_up_that_failed(model):
    model.write("predict.py", PREDICTOR.replace('self.word = "hello"', 'raise RuntimeError("no weights")'))
    run(model, "build", "-t", "broken")
    said = run(model, "run", "broken", "-i", "text=you", status=1).stderr
    assert "the model failed in set-up" in said
    assert "RuntimeError: no weights" in said


def test_serve_serves_an_image_until_it_is_stopped(model):
    run(model, "build", "-t", "greeter")
    port = free_port()
    command = [str(model.python.parent / "drivetrain"), "serve", "greeter", "-p", str(port)]
    with Program(command, env=model.environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if "Ready after" in line:
                    break
            answer = httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"text": "you"}}, timeout=30)
            assert answer.json()["output"] == "hello you 0"
        finally:
            process.terminate()
            process.stderr.read()
        assert process.wait(60) == 0


# Built by Cog


def test_an_image_with_cog_s_own_server_runs_too(model, debian_base, registry_server):
    """Laid out as Cog does it, with the package from the index and the labels that Cog writes."""
    run(model, "build", "-t", "greeter")
    described = json.loads(run(model, "inspect", "--json", "greeter").stdout)
    context = model.root.parent / "context"
    shutil.copytree(model.root, context / "src")
    (context / "src" / ".cog").mkdir()
    (context / "src" / ".cog" / "openapi_schema.json").write_text(json.dumps(described["schema"]))
    shutil.copy(model.python.parent / "uv", context)
    shutil.copy(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt", context / "certificates")
    install = "SSL_CERT_FILE=/mnt/certificates /mnt/uv pip install --system --break-system-packages cog==0.23.1"
    (context / "Dockerfile").write_text(
        f"FROM {debian_base}\n"
        f"RUN --mount=type=bind,target=/mnt ln -s python3 /usr/bin/python && {install}\n"
        "WORKDIR /src\nCOPY src/ /src/\nENV COG_PREDICT_TYPE_STUB=predict.py:Predictor\n"
        'EXPOSE 5000\nCMD ["python", "-m", "cog.server.http"]\n'
    )
    labels = {"run.cog.config": described["config"], "run.cog.openapi_schema": described["schema"]}
    flags = [word for name, value in labels.items() for word in ("--label", f"{name}={json.dumps(value)}")]
    podman(model, "build", "--quiet", "--tls-verify=false", "--tag", "localhost/made-by-cog:1", *flags, str(context))
    (context / "photo.jpg").write_bytes(b"12345")
    done = run(model, "run", "localhost/made-by-cog:1", "-i", "text=you", "-i", f"image=@{context}/photo.jpg")
    assert done.stdout == "hello you 5\n"
    assert "did you mean 'text'?" in run(model, "run", "localhost/made-by-cog:1", "-i", "txt=you", status=2).stderr
    # Without an engine, from a registry.
    name = f"{registry_server.host}/team/made-by-cog:1"
    podman(model, "push", "--quiet", "--tls-verify=false", "localhost/made-by-cog:1", name)
    done = run(model, "run", name, "--engine", "unpack", "-i", "text=you", "-i", f"image=@{context}/photo.jpg")
    assert done.stdout == "hello you 5\n"
    # What a layer removes of those below it is gone.
    (context / "Dockerfile").write_text(f"FROM {name}\nRUN rm -r /usr/share/doc /etc/motd && mkdir /usr/share/doc\n")
    podman(model, "build", "--quiet", "--tls-verify=false", "--tag", f"{name}-less", str(context))
    podman(model, "push", "--quiet", "--tls-verify=false", f"{name}-less")
    script = "ls -A /usr/share/doc; ls /etc/motd || echo gone; python -c 'import cog'"
    assert run(model, "exec", "--engine", "unpack", "--image", f"{name}-less", "sh", "-c", script).stdout == "gone\n"


# Built with an engine


@pytest.fixture(scope="session")
def docker_daemon(engines, tmp_path_factory):
    """The environment variables with which docker finds a daemon of its own."""
    # Debian's docker is as old as its daemon; another on PATH may lack the component that it builds with.
    if shutil.which("dockerd") is None or not os.path.exists("/usr/bin/docker"):
        pytest.skip("there is no Debian docker on this machine; scripts/test_tools.sh installs it")
    directory = tmp_path_factory.mktemp("docker")
    socket_path = directory / "docker.sock"
    command = ["dockerd", "--data-root", directory / "data", "--exec-root", directory / "exec", "--host", f"unix://{socket_path}"]
    command += ["--pidfile", directory / "pid", "--default-ulimit", "nofile=1024:1024"]
    with (directory / "log").open("wb") as log, Program(command, stdout=log, stderr=log) as process:
        environ = {"DOCKER_HOST": f"unix://{socket_path}", "PATH": f"/usr/bin:{os.environ['PATH']}"}
        try:
            while subprocess.run(["/usr/bin/docker", "info"], env={**os.environ, **environ}, capture_output=True).returncode:
                if process.poll() is not None:
                    pytest.skip(f"dockerd does not run here: {(directory / 'log').read_text()[-300:]}")
            yield environ
        finally:
            process.terminate()
            process.wait(60)


def test_docker_builds_and_runs_an_image(model, docker_daemon):
    model.environ.update(docker_daemon)
    run(model, "build", "-t", "docked", "--engine", "docker", "--no-precompile")
    described = json.loads(run(model, "inspect", "--json", "docked").stdout)
    assert described["layers"][0]["made_by"] == "a base for tests"
    assert all("gzip" in layer["media_type"] for layer in described["layers"])
    assert run(model, "run", "docked", "--engine", "docker", "-i", "text=you").stdout == "hello you 0\n"


def test_docker_pulls_what_was_built_directly(model, docker_daemon, registry_server):
    model.environ.update(docker_daemon)
    name = f"{registry_server.host}/team/for-docker"
    run(model, "push", name)
    docker = ["/usr/bin/docker", "run", "--rm", name, "python", "-c", "import cog; print(cog.__file__)"]
    done = subprocess.run(docker, env=model.environment(), capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("/opt/drivetrain/"), done.stderr


@pytest.mark.parametrize("engine", ["buildah", "podman"])
def test_an_engine_gives_an_image_that_behaves_as_the_direct_one_does(model, engine):
    run(model, "build", "-t", "direct", "--no-precompile")
    run(model, "build", "-t", "engine", "--engine", engine, "--no-precompile", "--output", str(model.root.parent / "layout.tar"))
    direct, other = (json.loads(run(model, "inspect", "--json", name).stdout) for name in ("direct", "engine"))
    for name in ("command", "entrypoint", "ports", "user", "variables", "config", "schema", "inputs", "packages", "base"):
        assert other[name] == direct[name], name
    assert other["layers"][0] == direct["layers"][0]  # the base is the registry's own, which need not be sent again
    with Container(model, load(model, model.root.parent / "layout.tar")).ready() as container:
        assert container.predict(text="you")["output"] == "hello you 0"
        assert container.run("python", "-c", "import cog; print(cog.__file__)").startswith("/opt/drivetrain/")
        assert container.stop() == 0


def test_packages_of_the_system_and_commands_are_built_in_and_secrets_are_not(model):
    secret = model.write("token.txt", "swordfish")
    config = (
        (model.root / "cog.yaml")
        .read_text()
        .replace(
            "base:",
            'system_packages: [hello], run: [{command: "wc -c </run/secrets/token >/counted", '
            "mounts: [{type: secret, id: token, target: /run/secrets/token}]}], base:",
        )
    )
    model.write("cog.yaml", config)
    model.write(".dockerignore", "token.txt\n")
    assert "wants the secret 'token'" in run(model, "build", status=1).stderr
    output = ("--output", str(model.root.parent / "layout.tar"))
    done = run(model, "build", "-t", "full", "--no-precompile", "--secret", f"id=token,src={secret}", *output)
    assert "the project has build.system_packages and build.run" in done.stderr
    with Container(model, load(model, model.root.parent / "layout.tar")).ready() as container:
        assert container.run("hello", "-t") == "hello, world"
        assert container.run("cat", "/counted") == "9"
        found = container.run("sh", "-c", "grep -rl swordfish /src /run /counted /etc /root /opt/model 2>/dev/null || true")
        assert found == ""


@pytest.mark.parametrize("engine", ["buildah", "podman"])
def test_a_package_that_is_editable_here_is_copied_into_the_image(model, engine):
    model.write(
        "lib/setup.py", 'from setuptools import setup\n\nsetup(name="of-our-own", version="1.0", py_modules=["of_our_own"])\n'
    )
    model.write("requirements.txt", "-e lib\n")
    model.write("cog.yaml", (model.root / "cog.yaml").read_text().replace("base:", "python_requirements: requirements.txt, base:"))
    command = ("python", "-c", "import of_our_own, structlog; print(of_our_own.__file__, of_our_own.WORD)")
    for word in ("first", "second"):
        model.write("lib/of_our_own.py", f"WORD = '{word}'\n")
        run(model, "build", "-t", "editable", "--engine", engine, "--no-precompile")
        shown = run(model, "exec", "--engine", "unpack", "--image", "editable", *command).stdout
        assert shown == f"/opt/model/lib/python3.11/site-packages/of_our_own.py {word}\n"
    assert sorted(path.name for path in (model.root / "lib").iterdir()) == ["of_our_own.py", "setup.py"]


@pytest.mark.parametrize("engine", ["buildah", "podman"])
def test_a_command_of_the_build_runs_once_and_one_image_is_kept_for_that(model, engine):
    config = (model.root / "cog.yaml").read_text()
    model.write("cog.yaml", config.replace("build: {", 'build: {run: ["date +%s%N > /etc/made"], '))
    first, again = (run(model, "build", "-t", "made", "--engine", engine, "--no-precompile").stdout for _ in range(2))
    assert first == again
    kept = caches(model)
    model.write("predict.py", PREDICTOR + "# edited\n")
    run(model, "build", "-t", "edited", "--engine", engine, "--no-precompile")
    made, edited = (
        run(model, "exec", "--engine", "unpack", "--image", name, "cat", "/etc/made").stdout for name in ("made", "edited")
    )
    assert made == edited
    assert caches(model) == kept


def caches(project):
    return sorted(podman(project, "images", "--filter", "reference=localhost/drivetrain-cache", "--format", "{{.Tag}}").split())


def test_an_engine_that_fails_shows_its_last_lines_and_nothing_is_tagged(model, registry_server):
    config = (model.root / "cog.yaml").read_text().replace("base:", 'run: ["echo the reason; exit 7"], base:')
    model.write("cog.yaml", config)
    name = f"{registry_server.host}/team/failed"
    said = run(model, "push", name, status=1).stderr
    assert "the reason" in said
    assert "failed with exit status" in said
    assert "is not there" in run(model, "inspect", name, status=1).stderr
