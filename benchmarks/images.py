"""How long it takes from an edit to a pushed image, and what an image weighs: ours beside an engine's, in turn, with one registry.

The project needs numpy and Pillow and has weights. An edit changes a line of `predict.py`. Measured are `drivetrain push`, and
`buildah build` of the Dockerfile that drivetrain generates for the same project, with a warm cache, and `buildah push`. The base is
Debian 12 with its Python.

    python benchmarks/images.py [--rounds N] [--weights MB] [--json]

As root, with buildah, docker-registry and debootstrap; `scripts/test_tools.sh` installs them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from drivetrain.dialects.cog.discovery import load_project
from drivetrain.environments.uv import uv_binary
from drivetrain.images import interpreter, layer_maker, packages, transfer
from drivetrain.images.build import Builder, BuildOrder
from drivetrain.images.descriptor import LAYER, Descriptor, platform_of
from drivetrain.images.dockerfile import Rendering, render_dockerfile
from drivetrain.images.engine_build import lay_out
from drivetrain.images.image import Image, Layer
from drivetrain.images.plan import Wishes
from drivetrain.images.reference import parse_reference
from drivetrain.images.registry.credentials import CredentialStore
from drivetrain.images.store import ImageStore
from drivetrain.images.transfer import Transfers
from drivetrain.settings import Settings, read_settings

DRIVETRAIN = Path(sys.executable).parent / "drivetrain"
BASE = Path(__file__).parents[1] / ".cache" / "images" / "debian-12.tar.gz"

FETCHING, PACKING = "fetching and unpacking", "packing, hashing and compressing"

PREDICTOR = """
import numpy
from cog import BasePredictor
from PIL import Image


class Predictor(BasePredictor):
    def predict(self, size: int = {number}) -> float:
        return float(numpy.asarray(Image.new("L", (size, size))).sum())
"""


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="edits of each that are counted")
    parser.add_argument("--weights", type=int, default=300, metavar="MB", help="size of the model's weights")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drivetrain-images-") as directory:
        results = Bench(Path(directory), arguments.weights).run(arguments.rounds)
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds in turn\n")
    print("| what | measured |\n|---|---|")
    for name, value in results.items():
        print(f"| {name} | {value} |")


class Bench:
    """A registry, a base in it, a project, and an environment for engines."""

    def __init__(self, directory: Path, weights: int) -> None:
        self._directory = directory
        self._weights = weights
        self._project = directory / "project"
        self._project.mkdir()
        conf = directory / "containers.conf"
        conf.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=2048:2048"]\n[engine]\nruntime = "runc"\n')
        storage = directory / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n')
        self._environ = {
            **os.environ,
            "DRIVETRAIN_CACHE_DIR": str(directory / "cache"),
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }
        self._settings = read_settings(self._environ)

    def run(self, rounds: int) -> dict[str, Any]:
        """All measurements, by what they are."""
        with registry(self._directory / "registry") as host:
            base = push_base(self._directory / "bases", host)
            self._write_project(base, 0)
            results: dict[str, Any] = self._cold_build()
            results |= self._edits(host, rounds)
            results |= self._sizes(host, base)
        subprocess.run(["buildah", "rmi", "--all", "--force"], env=self._environ, capture_output=True, check=False)
        return results

    def _write_project(self, base: str, number: int) -> None:
        build = f'{{python_version: "3.11", python_packages: [numpy==2.2.6, pillow==12.0.0], base: "{base}"}}'
        (self._project / "cog.yaml").write_text(f"build: {build}\npredict: predict.py:Predictor\n")
        with (self._project / "weights.bin").open("wb") as file:
            for _ in range(self._weights):
                file.write(os.urandom(1_000_000))
        self._edit(self._project, number)

    def _edit(self, root: Path, number: int) -> None:
        (root / "predict.py").write_text(PREDICTOR.format(number=number))

    def _cold_build(self) -> dict[str, str]:
        """In this process, so that it can be seen where the time goes."""
        timer = Timer()
        timer.around(packages, "run_uv", FETCHING)
        timer.around(transfer.Transfers, "fetch", FETCHING)
        timer.around(layer_maker, "write_layer", PACKING)
        timer.around(packages.Compiling, "entries", "nothing but compiling to bytecode")
        timer.around(interpreter, "_names", "listing the base")
        settings = read_settings(
            {**self._environ, "DRIVETRAIN_CACHE_DIR": str(self._directory / "cold"), "UV_CACHE_DIR": str(self._directory / "uv")}
        )
        began, before = time.monotonic(), os.times()
        self._builder(settings)
        whole, after = time.monotonic() - began, os.times()
        timer.restore()
        work = sum(after[:4]) - sum(before[:4])
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in timer.seconds().items())
        share = timer.covered(FETCHING, PACKING) / whole
        return {
            "cold build, seconds": f"{whole:.1f}, in which at the same time: {parts}",
            "cold build, processor time, seconds": f"{work:.1f}, {work / whole / (os.cpu_count() or 1):.0%} of what all cores have",
            "cold build, share of the time in which something is fetched or packed": f"{share:.0%}",
        }

    def _builder(self, settings: Settings) -> None:
        store = ImageStore(settings.cache_directory / "images")
        builder = Builder(transfers=Transfers(store=store, credentials=CredentialStore({})), settings=settings, progress=Silent())
        order = self._order()
        builder.build(order, builder.plans(order), builder.files(order)[0])

    def _order(self) -> BuildOrder:
        loaded = load_project(self._project, None)
        return BuildOrder(project=loaded.project, platforms=[platform_of("amd64")], wishes=Wishes())

    def _edits(self, host: str, rounds: int) -> dict[str, Any]:
        context = self._context()
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        for number in range(rounds + 1):
            self._edit(self._project, 100 + number)
            ours.append(timed(lambda: self._call(DRIVETRAIN, "push", f"{host}/bench/ours")))
            self._edit(context / "project", 100 + number)
            theirs.append(timed(lambda: self._buildah(context, f"{host}/bench/theirs")))
        walls, works = zip(*ours[1:], strict=True)  # the first ones fill the caches
        their_walls, their_works = zip(*theirs[1:], strict=True)
        return {
            "edit to pushed image, drivetrain push, seconds: median (least to most)": spread(walls),
            "edit to pushed image, buildah build and push, seconds": spread(their_walls),
            "the same, processor time of drivetrain": spread(works),
            "the same, processor time of buildah": spread(their_works),
            "ratio of the medians: time, processor time": f"{ratio(their_walls, walls):.1f}, {ratio(their_works, works):.1f}",
        }

    def _context(self) -> Path:
        store = ImageStore(self._directory / "cache" / "images")
        builder = Builder(
            transfers=Transfers(store=store, credentials=CredentialStore({})), settings=self._settings, progress=Silent()
        )
        order = self._order()
        (plan,), schema = builder.plans(order)
        context = self._directory / "context"
        uv = Path(uv_binary(self._settings))
        lay_out(context, plan, builder.files(order)[0], schema, python="3.11", uv=uv, certificates=None)
        text = render_dockerfile(plan, Rendering(python="3.11"))
        bundle = self._environ.get("SSL_CERT_FILE")
        if bundle:  # of whatever stands between this machine and the package index
            shutil.copy(bundle, context / "tools" / "certificates.pem")
            text = text.replace("uv=/mnt", "export SSL_CERT_FILE=/mnt/drivetrain/tools/certificates.pem && uv=/mnt")
        (context / "Dockerfile").write_text(text)
        return context

    def _buildah(self, context: Path, name: str) -> None:
        self._call("buildah", "build", "--quiet", "--layers", "--tls-verify=false", "--tag", name, context)
        self._call("buildah", "push", "--quiet", "--tls-verify=false", name, f"docker://{name}")

    def _sizes(self, host: str, base: str) -> dict[str, Any]:
        ours = size_of(host, "bench/ours")
        context = self._directory / "as-cog"
        shutil.copytree(self._project, context / "project", copy_function=os.link)
        (context / "tools").mkdir()
        shutil.copy(uv_binary(self._settings), context / "tools" / "uv")
        bundle = self._environ.get("SSL_CERT_FILE")
        if bundle:
            shutil.copy(bundle, context / "tools" / "certificates.pem")
        export = "SSL_CERT_FILE=/mnt/certificates.pem " if bundle else ""
        install = f"{export}/mnt/uv pip install --system --break-system-packages --no-cache --index-strategy unsafe-best-match"
        (context / "Dockerfile").write_text(
            textwrap.dedent(
                f"""\
                FROM {base}
                RUN --mount=type=bind,source=tools,target=/mnt {install} numpy==2.2.6 pillow==12.0.0
                RUN --mount=type=bind,source=tools,target=/mnt {install} cog==0.23.1
                WORKDIR /src
                COPY project/ /src/
                """
            )
        )
        self._buildah(context, f"{host}/bench/as-cog")
        theirs, below = size_of(host, "bench/as-cog"), size_of(host, "base/debian", "12")
        return {
            "compressed size beyond the base, drivetrain (with bytecode), MB": f"{(ours - below) / 1e6:.1f}",
            "compressed size beyond the base, Cog's layout (without), MB": f"{(theirs - below) / 1e6:.1f}",
        }

    def _call(self, *words: str | Path) -> None:
        command = [str(word) for word in words]
        done = subprocess.run(command, cwd=self._project, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{words}\n{done.stdout}{done.stderr}")


class Timer:
    """Notes when functions run, in whatever thread."""

    def __init__(self) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = {}
        self._replaced: list[tuple[Any, str, Any]] = []

    def around(self, owner: Any, name: str, what: str) -> None:
        """Time a function, from now on."""
        function = getattr(owner, name)
        self._replaced.append((owner, name, function))

        def measured(*arguments: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                result = function(*arguments, **named)
                return list(result) if isinstance(result, types.GeneratorType) else result
            finally:
                self._spans.setdefault(what, []).append((began, time.monotonic()))

        setattr(owner, name, measured)

    def seconds(self) -> dict[str, float]:
        """For how long something of a kind ran, by kind."""
        return {what: self.covered(what) for what in self._spans}

    def covered(self, *kinds: str) -> float:
        """For how long something of any of these kinds ran."""
        total, end = 0.0, 0.0
        for first, last in sorted(span for what in kinds for span in self._spans.get(what, ())):
            total += max(0.0, last - max(first, end))
            end = max(end, last)
        return total

    def restore(self) -> None:
        """Time them no longer."""
        for owner, name, function in self._replaced:
            setattr(owner, name, function)


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """Nothing."""

    def detail(self, line: str) -> None:
        """Nothing."""


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """A registry on a free port; its host."""
    directory.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage = f"{{filesystem: {{rootdirectory: {directory}}}}}"
    http = f'{{addr: "127.0.0.1:{port}"}}'
    config = f"version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\nstorage: {storage}\nhttp: {http}\n"
    (directory / "config.yml").write_text(config)
    with subprocess.Popen(
        ["docker-registry", "serve", str(directory / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
                    break
            yield f"localhost:{port}"
        finally:
            process.terminate()


def push_base(directory: Path, host: str) -> str:
    """Push the base that the tests keep; make it if it is not there."""
    import gzip
    import hashlib

    if not BASE.exists():
        raise SystemExit("the base is made by the tests: python -m pytest tests/e2e/test_images_in_containers.py")
    store = ImageStore(directory)
    content = BASE.read_bytes()
    descriptor = Descriptor(media_type=f"{LAYER}+gzip", digest=store.put(content), size=len(content))
    diff_id = f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    settings = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    image = Image(config={"architecture": "amd64", "os": "linux", "config": settings})
    whole = image.with_layers(
        [Layer(descriptor=descriptor, diff_id=diff_id, made_by="debootstrap")], created="1980-01-01T00:00:00Z"
    )
    reference = parse_reference(f"{host}/base/debian:12")
    Transfers(store=store, credentials=CredentialStore({})).push(store.manifest(store.add_image(whole).digest), reference)
    return str(reference)


def size_of(host: str, repository: str, tag: str = "latest") -> int:
    """Bytes of the layers of an image in a registry."""
    reference = parse_reference(f"{host}/{repository}:{tag}")
    with tempfile.TemporaryDirectory() as directory:
        moves = Transfers(store=ImageStore(Path(directory)), credentials=CredentialStore({}))
        with moves.registry(reference) as client:
            manifest, _ = client.manifest(reference)
    return sum(layer.size for layer in manifest.layers)


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """Seconds that a call takes, and seconds of processor time that its processes take."""
    began, before = time.monotonic(), os.times()
    call()
    after = os.times()
    work = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, work


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Of the medians."""
    return statistics.median(one) / statistics.median(other)


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
