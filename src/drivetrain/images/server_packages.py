"""Our own part of an image: drivetrain, as it is running now, and the packages that its server needs.

drivetrain's package directories are copied as they are. They are plain Python, and what a wheel of it would install, file for
file. So it makes no difference whether it runs from a checkout or was installed, and nothing has to be built. The packages it needs
are fetched for the image's platform, each in the version that is installed beside it here: the server in the image is the one that
was tried.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from drivetrain import __version__
from drivetrain.images import layout
from drivetrain.images.archive import Entry, file, link

#: Needed to make environments and images, and to show it on a terminal; of no use in an image.
_NOT_SERVED = frozenset({"rich", "uv", "zstandard"})

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def requirements() -> list[str]:
    """What the server needs."""
    lines = importlib.metadata.requires("drivetrain") or []
    return sorted(line for line in lines if "extra ==" not in line and _name(line) not in _NOT_SERVED)


def constraints() -> list[str]:
    """The versions of all that is installed here, as the names of directories say it: reading their metadata would take longer."""
    installed: dict[str, str] = {}
    for directory in sys.path:
        for information in Path(directory).glob("*.dist-info"):
            name, _, version = information.stem.partition("-")
            installed.setdefault(_name(name), version)  # the first on the path is the one that is imported
    return [f"{name}=={version}" for name, version in sorted(installed.items()) if version and name != "drivetrain"]


def server_files(python: str) -> Iterator[Entry]:
    """drivetrain itself, for an image with this version of Python."""
    packages = layout.inner(layout.site_packages(layout.SERVER, python))
    root = Path(__file__).parents[2]
    for name in ("drivetrain", "drivetrain_worker"):
        for path in (root / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield Entry(name=f"{packages}/{path.relative_to(root).as_posix()}", source=path)
    information = f"{packages}/drivetrain-{__version__}.dist-info"
    yield file(f"{information}/METADATA", _metadata())
    yield file(f"{information}/INSTALLER", "drivetrain\n")
    for name in ("init.py", "health.py"):
        yield Entry(name=layout.inner(f"{layout.SERVER}/{name}"), source=Path(__file__).parent / "guest" / name)


def server_world(interpreter: str, python: str) -> Iterator[Entry]:
    """The virtual environment around it.

    Args:
        interpreter: Path of the interpreter in the image.
        python: Its ``MAJOR.MINOR``.
    """
    yield from world(layout.SERVER, interpreter, python, sees_system=False)
    main = f"#!{layout.SERVER}/bin/python -I\nimport sys\n\nfrom drivetrain.cli.main import main\n\nsys.exit(main())\n"
    yield file(layout.inner(f"{layout.SERVER}/bin/drivetrain"), main, executable=True)


def model_world(interpreter: str, python: str, *, server: str) -> Iterator[Entry]:
    """The virtual environment of the model, which also sees what the base has installed, and finds ``cog`` with us.

    Args:
        interpreter: Path of the interpreter in the image.
        python: Its ``MAJOR.MINOR``.
        server: ``MAJOR.MINOR`` of the server's.
    """
    yield from world(layout.MODEL, interpreter, python, sees_system=True)
    authoring = f"{layout.site_packages(layout.SERVER, server)}/drivetrain_worker/authoring"
    yield file(layout.inner(f"{layout.site_packages(layout.MODEL, python)}/drivetrain.pth"), f"{authoring}\n")


def world(place: str, interpreter: str, python: str, *, sees_system: bool) -> Iterator[Entry]:
    """A virtual environment without packages."""
    home = interpreter.rpartition("/")[0]
    sees = str(sees_system).lower()
    yield file(layout.inner(f"{place}/pyvenv.cfg"), f"home = {home}\ninclude-system-site-packages = {sees}\nversion = {python}\n")
    yield link(layout.inner(f"{place}/bin/python"), interpreter)
    yield link(layout.inner(f"{place}/bin/python3"), "python")
    yield link(layout.inner(f"{place}/bin/python{python}"), "python")


def _metadata() -> str:
    with_ours = importlib.metadata.distribution("drivetrain").read_text("METADATA")
    return with_ours or f"Metadata-Version: 2.1\nName: drivetrain\nVersion: {__version__}\n"


def _name(text: str) -> str:
    match = _NAME.match(text)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""
