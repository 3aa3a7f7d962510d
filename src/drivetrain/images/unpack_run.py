"""Run images without a container engine: unpacked, in namespaces of this user's.

The network is the host's. A network of its own would leave a container without one, unless a program that few machines have carried
packets between the two; and models fetch weights. So the server is told its address and port, where docker would publish them. For
the same reason the host's name and its resolver's settings are the container's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NoReturn

import httpx

from drivetrain.images import namespace
from drivetrain.images.engine_run import NO_LIMIT, STOP_SECONDS, Container, Running, chosen_gpus
from drivetrain.images.labels import VERSION, label
from drivetrain.images.unpacked import UnpackedImage
from drivetrain.model.errors import Misuse, OutsideFailed, ProjectError

#: What ``--engine`` calls it.
UNPACK = "unpack"

_SHARED_MEMORY_BYTES = 6 * 1024**3
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVER = ("python", "-m", "cog.server.http")
#: Since then Cog's server takes the address that it listens on.
_HOST_SINCE = (0, 10)

_DRIVER_LIBRARY = re.compile(r"lib(cuda|cudadebugger|nvcuvid|nvoptix|nvidia-[a-z0-9-]+)\.so(\.\S+)?")
#: As ``ldconfig`` tells it; a driver brings libraries for older programs too.
_IS_64_BIT = re.compile(r"x86-64|AArch64")
_GPU = re.compile(r"nvidia\d+")

#: Settings of the kernel that keep users from making namespaces: the file, the value that does, what sets it right.
_SWITCHES = (
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
)


@dataclass(frozen=True, kw_only=True)
class User:
    """Who a command runs as.

    Attributes:
        number: Of the user.
        group: Of the group.
        home: Directory.
    """

    number: int = 0
    group: int = 0
    home: str = "/"


@dataclass(frozen=True, kw_only=True)
class UnpackedRun:
    """An unpacked image, and how to run it.

    Attributes:
        image: Its layers.
        running: How. Its ports say where the image's server is to listen; there is none without them.
        environ: The environment of this process.
    """

    image: UnpackedImage
    running: Running
    environ: Mapping[str, str] = field(default_factory=dict)

    def become(self, *, terminal: bool) -> NoReturn:
        """Make way for the image's command, in this terminal.

        Args:
            terminal: Whether it gets a terminal of its own, connected with this one.
        """
        running = self._listening(*self._address()) if self.running.ports else self.running
        order = _order_in_memory(self._order(running, terminal=terminal, starter=0))
        os.set_inheritable(order, True)
        sys.stdout.flush()
        command = _keeper(str(order))
        os.execve(command[0], command, dict(self.environ))  # noqa: S606 (running an image is what this is for)

    @contextlib.contextmanager
    def started(self) -> Iterator[Container]:
        """The image's server on a port of this machine; it is gone at the end.

        Raises:
            ProjectError: The image cannot be run here.
        """
        host, port = self._address()
        order = _order_in_memory(self._order(self._listening(host, port), terminal=False, starter=os.getpid()))
        with (
            tempfile.TemporaryFile() as written,
            httpx.Client(base_url=f"http://{host}:{port}", timeout=NO_LIMIT, trust_env=False) as client,
            _process(order, written, self.environ) as process,
        ):
            yield Container(
                client=client, logs=functools.partial(_read_from_start, written), is_running=lambda: process.poll() is None
            )

    @property
    def hides_address(self) -> bool:
        """Whether the image's server can be told where to listen; an old one listens on all addresses."""
        return self.running.is_ours or _version(label(self.running.image.labels, VERSION)) >= _HOST_SINCE

    def _address(self) -> tuple[str, int]:
        host, _, port = self.running.ports[0].rpartition(":")
        host = host.strip("[]")
        return host, int(port) if port else _free_port(host)

    def _listening(self, host: str, port: int) -> Running:
        """Have the image's server listen there."""
        where = ("--host", host) if self.hides_address else ()
        arguments = (*(self.running.arguments or _SERVER), *where)
        return replace(self.running, arguments=arguments, variables={**self.running.variables, "PORT": str(port)})

    def _order(self, running: Running, *, terminal: bool, starter: int) -> dict[str, Any]:
        """What the keeper is told."""
        settings = running.image.settings
        user = user_of(str(settings.get("User") or ""), self.image)
        gpus = chosen_gpus(running)
        libraries = driver_libraries(_known_libraries()) if gpus else {}
        environ = _variables(running, user, has_libraries=bool(libraries), terminal=self.environ.get("TERM") if terminal else None)
        arguments = [*_words(settings.get("Entrypoint")), *(running.arguments or _words(settings.get("Cmd")))]
        if not arguments:
            raise ProjectError("the image has no command of its own", hint="drivetrain exec --image runs one in it")
        return {
            "directory": str(self.image.directory),
            "layers": self.image.layers,
            "is_marked": self.image.is_marked,
            "arguments": arguments,
            "environ": environ,
            "working_directory": settings.get("WorkingDir") or "/",
            "user": (user.number, user.group),
            "devices": gpu_devices(gpus, _driver_files()) if gpus else [],
            "libraries": libraries,
            "terminal": terminal,
            "shared_memory": _SHARED_MEMORY_BYTES,
            "starter": starter,
        }


def check_host() -> None:
    """See that images can be run without an engine here.

    Raises:
        Misuse: This is not Linux.
        OutsideFailed: The kernel does not let this user make namespaces; says what would make it.
    """
    if not sys.platform.startswith("linux"):
        raise Misuse(f"--engine {UNPACK} runs images on Linux only", hint="use docker or podman")
    number = subprocess.run(_keeper("--probe"), stdin=subprocess.DEVNULL, check=False).returncode
    if number:
        raise OutsideFailed(
            f"this machine does not let this user make namespaces: {os.strerror(number)}", hint=remedy(number, Path("/proc/sys"))
        )


def remedy(number: int, settings: Path) -> str:
    """What would let this user make namespaces.

    Args:
        number: Of the error that the kernel gave.
        settings: The kernel's settings, as files.
    """
    for name, value, command in _SWITCHES:
        with contextlib.suppress(OSError):
            if (settings / name).read_text(encoding="ascii").strip() == value:
                return f"an administrator can allow it: {command}"
    if number == errno.EINVAL:
        return "this kernel was built without user namespaces; use docker or podman"
    if number == errno.ENOSPC:
        return "too many are in use: see user.max_user_namespaces"
    return "within a container this takes a seccomp profile that allows 'unshare' and 'mount'; else use docker or podman"


def user_of(text: str, image: UnpackedImage) -> User:
    """The user that an image's config names.

    Args:
        text: A name or number, and after a colon the group's if it is another than the user's; nothing is root.
        image: Knows names.

    Raises:
        ProjectError: It knows this one not.
    """
    name, _, group = text.partition(":")
    known = [line.split(":") for line in (image.read("etc/passwd") or "").splitlines()]
    found = next((row for row in known if len(row) > 5 and (name or "0") in (row[0], row[2])), None)
    if found is None and not (name or "0").isdecimal():
        raise ProjectError(f"the image is to run as the user '{name}', whom it does not know")
    number, own_group, home = (int(found[2]), int(found[3]), found[5]) if found else (int(name or "0"), 0, "/")
    return User(number=number, group=_group_of(group, image) if group else own_group, home=home or "/")


def _group_of(text: str, image: UnpackedImage) -> int:
    if text.isdecimal():
        return int(text)
    known = [line.split(":") for line in (image.read("etc/group") or "").splitlines()]
    found = next((row for row in known if len(row) > 2 and row[0] == text), None)
    if found is None:
        raise ProjectError(f"the image is to run as the group '{text}', which it does not know")
    return int(found[2])


def _variables(running: Running, user: User, *, has_libraries: bool, terminal: str | None) -> dict[str, str]:
    host = socket.gethostname()
    environ = {"PATH": _PATH, "HOSTNAME": host, "HOME": user.home, **({"TERM": terminal} if terminal else {})}
    environ.update({**running.image.variables, **running.variables})
    if has_libraries:
        paths = (namespace.DRIVER_LIBRARIES, environ.get("LD_LIBRARY_PATH"))
        environ["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    return environ


def gpu_devices(gpus: str, there: Sequence[str]) -> list[str]:
    """Files of the GPUs that ``--gpus`` names, and those that all of them need.

    Args:
        gpus: ``all``, a number of GPUs, or ``device=`` and numbers of some.
        there: Names of the driver's files in ``/dev``.

    Raises:
        ProjectError: One is named that this machine has not.
    """
    cards = sorted((name for name in there if _GPU.fullmatch(name)), key=lambda name: int(name.removeprefix("nvidia")))
    if gpus.isdecimal():
        wanted = [f"nvidia{number}" for number in range(int(gpus))]
    elif gpus == "all":
        wanted = cards
    else:
        wanted = [f"nvidia{number}" for number in gpus.removeprefix("device=").strip('"').split(",")]
    if missing := [name for name in wanted if name not in cards]:
        raise ProjectError(f"--gpus {gpus}: this machine has no '/dev/{missing[0]}'", hint=f"it has {', '.join(cards) or 'none'}")
    return [f"/dev/{name}" for name in sorted(there) if name in wanted or name not in cards]


def driver_libraries(listing: str) -> dict[str, str]:
    """The driver's libraries, which belong to the host's kernel and are in no image: where they are, by their names.

    Args:
        listing: What ``ldconfig -p`` prints.
    """
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, _, rest = line.strip().partition(" ")
        if _DRIVER_LIBRARY.fullmatch(name) and _IS_64_BIT.search(rest):
            found.setdefault(name, os.path.realpath(rest.rpartition("=> ")[2]))
    return found


def _driver_files() -> list[str]:
    return [path.name for path in Path("/dev").glob("nvidia*") if path.is_char_device()]


def _known_libraries() -> str:
    with contextlib.suppress(OSError):
        command = ["/sbin/ldconfig", "-p"]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout.decode(errors="replace")
    return ""


@contextlib.contextmanager
def _process(order: int, written: IO[bytes], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            _keeper(str(order)),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            pass_fds=(order,),
            start_new_session=True,
        )
    finally:
        os.close(order)
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                for number in (signal.SIGINT, signal.SIGTERM):  # the third request is one that no command can refuse
                    process.send_signal(number)


def _order_in_memory(order: Mapping[str, Any]) -> int:
    """A file with the order that no other process sees: variables hold secrets."""
    file = os.memfd_create("order", os.MFD_CLOEXEC)
    content = json.dumps(order).encode()
    while content:
        content = content[os.write(file, content) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _keeper(word: str) -> list[str]:
    return [sys.executable, "-IS", namespace.__file__, word]


def _read_from_start(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _words(value: Any) -> list[str]:
    return [str(word) for word in value or ()]


def _version(text: str | None) -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
