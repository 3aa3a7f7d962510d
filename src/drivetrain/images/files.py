"""Which files of a project go into its image, and in which layers.

What looks like a secret, a repository or an environment of this machine stays out and is named, unless ``.dockerignore`` asks for
it. Large files that are not code go into layers of their own below the code: they change seldom, and whoever has them keeps them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from drivetrain.dialects.cog.doctor.ignore_file import IgnoreFile
from drivetrain.images import layout
from drivetrain.images.archive import Entry, directory, entry_of
from drivetrain.model.errors import ProjectError
from drivetrain.model.finding import Finding, Severity
from drivetrain.model.project import Project

IGNORE_FILE = ".dockerignore"

#: Files from this size on are weights, if they are neither code nor media.
WEIGHT_BYTES = 10 * 1024 * 1024
#: Weights from this size on have a layer each, smaller ones share.
LONE_BYTES = 64 * 1024 * 1024
#: Engines take 127 layers at most, bases included.
MOST_LONE_LAYERS = 64

#: Formats whose content does not become smaller.
DENSE = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".parquet", ".npz", ".zip", ".gz", ".zst", ".xz", ".7z")

#: Code, images, sound and films, as in Cog.
_NOT_WEIGHTS = frozenset(
    (
        ".py",
        ".pyi",
        ".ipynb",
        ".c",
        ".cc",
        ".cpp",
        ".cu",
        ".h",
        ".js",
        ".ts",
        ".html",
        ".css",
        ".json",
        ".yaml",
        ".yml",
        ".toml",
        ".txt",
        ".md",
        ".sh",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".bmp",
        ".tiff",
        ".mp3",
        ".wav",
        ".flac",
        ".ogg",
        ".m4a",
        ".mp4",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
    )
)

#: Never useful in an image, and told to nobody.
_DROPPED = frozenset({"__pycache__", ".DS_Store", ".cog"})

_SECRET_NAMES = re.compile(
    r"\.env(?:\.(?!example$|sample$|template$).*)?|.*\.pem|.*\.key|id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.pypirc|\.npmrc|\.git-credentials|"
    r"\.htpasswd|credentials\.json|service[-_]account.*\.json|.*\.p12|.*\.pfx|.*\.keystore|.*\.tfstate"
)
_SECRET_DIRECTORIES = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure", ".gcloud"})
_REPOSITORIES = frozenset({".git", ".hg", ".svn"})
_PRIVATE_KEY = b"PRIVATE KEY-----"
#: A certificate without a key is a .pem too; it stays in.
_PUBLIC = (".pem", ".key")


class ProjectFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into an image.

    Attributes:
        code: All but the weights.
        weights: Groups of entries, a layer for each.
        left_out: What was left out without having been asked for, each with its reason.
    """

    code: tuple[Entry, ...]
    weights: tuple[tuple[Entry, ...], ...]
    left_out: tuple[Finding, ...]


def project_files(project: Project, *, owner: int = 0) -> ProjectFiles:
    """Look through a project.

    Args:
        project: The project.
        owner: Numeric user that the files belong to in the image.

    Raises:
        ProjectError: A link leads out of the project; names all that do.
    """
    walk = _Walk(project, owner)
    code: list[Entry] = []
    weights: list[Entry] = []
    for entry in walk.entries():
        (weights if _is_weight(entry) else code).append(entry)
    if walk.leading_out:
        raise ProjectError(
            f"{len(walk.leading_out)} link{'s lead' if len(walk.leading_out) > 1 else ' leads'} out of the project, "
            "where an image has nothing",
            findings=walk.leading_out,
        )
    return ProjectFiles(code=tuple(code), weights=tuple(_layers_of(weights)), left_out=tuple(walk.left_out))


class _Walk:
    def __init__(self, project: Project, owner: int) -> None:
        self._root = project.root
        self._config = project.config_file
        self._owner = owner
        self._lines = _ignore_lines(project.root)
        self._ignored = IgnoreFile(self._lines)
        self._asks_back = any(line.strip().startswith("!") for line in self._lines)
        self.left_out: list[Finding] = []
        self.leading_out: list[Finding] = []

    def entries(self) -> Iterator[Entry]:
        config = layout.inner(f"{layout.SOURCE}/cog.yaml")
        yield Entry(name=config, source=self._config, owner=self._owner)  # the server reads it, whatever is ignored
        for entry in self._below(self._root, ""):
            if entry.name != config:
                yield entry

    def _below(self, place: Path, prefix: str) -> Iterator[Entry]:
        try:
            found = sorted(os.scandir(place), key=lambda item: item.name)
        except OSError as error:
            raise ProjectError(f"'{place}' cannot be read: {error.strerror}") from error
        for item in found:
            name = f"{prefix}{item.name}"
            is_directory = item.is_dir(follow_symlinks=False)
            if item.name in _DROPPED or self._is_left_out(item, name, is_directory=is_directory):
                continue
            if is_directory:
                yield from self._directory(Path(item.path), name)
            elif not self._ignored.ignores(name):
                yield from self._file(Path(item.path), name)

    def _directory(self, path: Path, name: str) -> Iterator[Entry]:
        is_ignored = self._ignored.ignores(name)
        if is_ignored and not self._asks_back:  # a pattern with "!" may ask for something in an ignored directory
            return
        is_empty = True
        for entry in self._below(path, f"{name}/"):
            is_empty = False
            yield entry
        if is_empty and not is_ignored:  # the model may want to write there
            yield directory(layout.inner(f"{layout.SOURCE}/{name}"), owner=self._owner)

    def _file(self, path: Path, name: str) -> Iterator[Entry]:
        entry = entry_of(path, layout.inner(f"{layout.SOURCE}/{name}"), owner=self._owner)
        if entry is None:
            return
        if entry.target and not self._stays_inside(path, entry.target):
            self.leading_out.append(
                _finding(
                    "link-out-of-project",
                    name,
                    f"leads to '{entry.target}'",
                    f"put the file itself there, or '{name}' into {IGNORE_FILE}",
                )
            )
            return
        yield entry

    def _stays_inside(self, path: Path, target: str) -> bool:
        if target.startswith("/"):
            return target == layout.SOURCE or target.startswith(f"{layout.SOURCE}/")
        place = os.path.normpath(os.path.join(path.parent, target))  # noqa: PTH118 (the link need not lead to anything)
        return place == str(self._root) or place.startswith(f"{self._root}{os.sep}")

    def _is_left_out(self, item: os.DirEntry[str], name: str, *, is_directory: bool) -> bool:
        why = _objection(item, is_directory=is_directory)
        if why is None or self._ignored.ignores(name) or self._is_asked_for(name):
            return False
        remedy = f"put '{name}' into {IGNORE_FILE} to say so, or '!{name}' to have it in"
        if item.name not in _REPOSITORIES:
            self.left_out.append(_finding("left-out-of-image", name, f"is left out of the image: {why}", remedy))
        return True

    def _is_asked_for(self, name: str) -> bool:
        return any(line.strip().lstrip("!/").rstrip("/") == name for line in self._lines if line.strip().startswith("!"))


def _objection(item: os.DirEntry[str], *, is_directory: bool) -> str | None:
    """Why something should not be in an image; ``None`` if nothing speaks against it."""
    if is_directory:
        if item.name in _REPOSITORIES:
            return "it holds the history of the project"
        if item.name in _SECRET_DIRECTORIES:
            return "it holds credentials"
        if Path(item.path, "pyvenv.cfg").is_file():
            return "it is a virtual environment of this machine"
        return None
    if item.is_symlink() or not _SECRET_NAMES.fullmatch(item.name):
        return None
    if item.name.endswith(_PUBLIC) and not _holds_private_key(Path(item.path)):
        return None
    return "it looks like a secret"


def _holds_private_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _PRIVATE_KEY in file.read(1024 * 1024)
    except OSError:
        return True


def _is_weight(entry: Entry) -> bool:
    if entry.source is None or Path(entry.name).suffix.lower() in _NOT_WEIGHTS:
        return False
    return entry.source.stat().st_size >= WEIGHT_BYTES


def _layers_of(weights: list[Entry]) -> Iterator[tuple[Entry, ...]]:
    sizes = {entry.name: entry.source.stat().st_size for entry in weights if entry.source is not None}
    lone = sorted((entry for entry in weights if sizes[entry.name] >= LONE_BYTES), key=lambda entry: -sizes[entry.name])
    lone = lone[:MOST_LONE_LAYERS]
    names = {entry.name for entry in lone}
    if shared := tuple(entry for entry in weights if entry.name not in names):
        yield shared
    for entry in sorted(lone, key=lambda entry: entry.name):
        yield (entry,)


def _ignore_lines(root: Path) -> list[str]:
    try:
        return (root / IGNORE_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ProjectError(f"'{root / IGNORE_FILE}' cannot be read: {error.strerror}") from error


def _finding(code: str, name: str, problem: str, remedy: str) -> Finding:
    severity = Severity.ERROR if code == "link-out-of-project" else Severity.WARNING
    return Finding(severity=severity, code=code, problem=f"'{name}' {problem}", remedy=remedy)
