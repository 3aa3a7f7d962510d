"""The ``build:`` section of cog.yaml: what a project asks of its environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.reference import path_within_project
from drivetrain.dialects.cog.requirement_lines import requirements_of_file, requirements_of_items
from drivetrain.dialects.cog.section import Section, Text, shortened
from drivetrain.dialects.cog.text_file import exists
from drivetrain.dialects.cog.yaml_nodes import Mapping, Node, Scalar, Sequence
from drivetrain.model.project import BuildCommand, EnvironmentSpec

KEYS = frozenset(
    {
        "gpu",
        "python_version",
        "python_requirements",
        "python_packages",
        "python_extra_index_urls",
        "python_find_links",
        "pre_install",
        "system_packages",
        "run",
        "cuda",
        "cudnn",
        "base",
        "sdk_version",
    }
)
GONE_KEYS = {
    "fast": "remove it",
    "cog_runtime": "remove it",
    "arch": "remove it; 'gpu: true' asks for a GPU",
    "architectures": "remove it; 'gpu: true' asks for a GPU",
    "image": "rename it to 'base' to build images on it, or remove it",
}

#: The worker runs on this version and later ones.
OLDEST_PYTHON = (3, 8)
#: No CUDA image that Cog still knows is older.
OLDEST_CUDA = 11

_PYTHON_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?:\.[0-9]{1,3})?")
_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")


def read_build(section: Section, *, file: Path, root: Path, findings: Findings) -> EnvironmentSpec:
    """What the section asks for; whatever is wrong in it is left out and noted.

    Args:
        section: The ``build`` mapping.
        file: The config file, which paths are relative to.
        root: The project's directory.
        findings: Those about ``file``.
    """
    section.text("sdk_version")  # only a Docker build by Cog has a use for it
    base = section.text("base")
    return EnvironmentSpec(
        root=root,
        python_version=_python_version(section.text("python_version"), findings),
        requirements=(*_index_lines(section), *_requirements(section, file=file, root=root, findings=findings)),
        gpu=section.flag("gpu"),
        cuda=_cuda(section.text("cuda"), findings),
        cudnn=_version("build.cudnn", section.text("cudnn"), findings),
        base=base.text if base is not None else None,
        system_packages=tuple(name for item in section.texts("system_packages") for name in item.text.split()),
        commands=(*_run(section, findings), *_pre_install(section, findings)),
    )


def _python_version(value: Text | None, findings: Findings) -> str | None:
    if value is None:
        return None
    match = _PYTHON_VERSION.fullmatch(value.text)
    if match is None:
        findings.error("python-version", f"'{shortened(value.text)}' is not a Python version", 'write it like "3.12"', value.line)
        return None
    version = (int(match[1]), int(match[2]))
    if version >= OLDEST_PYTHON:
        return value.text
    remedy = f'write "3.{match[2]}0"' if version == (3, 1) else 'write "3.8" or a later one, for example "3.12"'
    findings.error("python-version", f"Python {value.text} is older than the oldest that works, 3.8", remedy, value.line)
    return None


def _cuda(value: Text | None, findings: Findings) -> str | None:
    version = _version("build.cuda", value, findings)
    if version is not None and value is not None and int(version.partition(".")[0]) < OLDEST_CUDA:
        findings.warn(
            "old-cuda",
            f"CUDA {version} is older than any that images can be built on",
            f'write "{OLDEST_CUDA}.8" or a later one, or remove the key',
            value.line,
        )
    return version


def _version(key: str, value: Text | None, findings: Findings) -> str | None:
    if value is None or _VERSION.fullmatch(value.text):
        return value.text if value is not None else None
    findings.error(
        "version", f"'{key}: {shortened(value.text)}' is not a version", 'write it like "12.4", or remove the key', value.line
    )
    return None


def _index_lines(section: Section) -> Iterator[str]:
    """Keys of early versions of Cog, which later became options in the requirements."""
    for item in section.texts("python_extra_index_urls"):
        yield f"--extra-index-url {item.text}"
    for item in section.texts("python_find_links"):
        yield f"--find-links {item.text}"


def _requirements(section: Section, *, file: Path, root: Path, findings: Findings) -> tuple[str, ...]:
    items = section.texts("python_packages")
    if isinstance(section.value_of("python_requirements"), Sequence):
        findings.error(
            "wrong-form",
            "'build.python_requirements' is a list where the path of a requirements file is wanted",
            "rename the key to 'python_packages', or move the list into a file",
            section.line_of("python_requirements"),
        )
        return ()
    named = section.text("python_requirements")
    if named is not None and items:
        findings.error(
            "requirements-twice",
            "'build.python_packages' and 'build.python_requirements' cannot both be given",
            f"move the packages into '{shortened(named.text)}', and remove 'python_packages'",
            section.line_of("python_packages"),
        )
        return ()
    if named is not None:
        return _requirements_file(named, root=root, findings=findings)
    return requirements_of_items(items, file=file, root=root, findings=findings)


def _requirements_file(named: Text, *, root: Path, findings: Findings) -> tuple[str, ...]:
    path = path_within_project("build.python_requirements", named.text, named.line, findings)
    if path is None:
        return ()
    if not exists(root / path):
        findings.error(
            "missing-file",
            f"'build.python_requirements' names '{shortened(path)}', which does not exist",
            "create the file, or correct the path",
            named.line,
        )
        return ()
    about_file = Findings(str(Path(findings.file).parent / path))
    lines = requirements_of_file(root / path, root=root, findings=about_file)
    findings.include(about_file)
    return lines


def _run(section: Section, findings: Findings) -> Iterator[BuildCommand]:
    for item in section.items("run", "begin every command with '- '"):
        command = _command(item, section, findings)
        if command is not None:
            yield command


def _command(item: Node, section: Section, findings: Findings) -> BuildCommand | None:
    if isinstance(item, Mapping) and "command" in item.entries:
        entry = Section(item, findings, "build.run")
        entry.warn_of_unknown_keys({"command", "mounts"}, gone={}, elsewhere={})
        line = _one_line(entry.text("command"), findings)
        mounts = tuple(_mounts(entry, findings))
        return BuildCommand(command=line, secret_mounts=mounts) if line is not None else None
    if not isinstance(item, Scalar):
        section.note_wrong_item("run", item)
        return None
    line = _one_line(Text(text=item.text.strip(), line=item.line), findings)
    return BuildCommand(command=line) if line is not None else None


def _pre_install(section: Section, findings: Findings) -> Iterator[BuildCommand]:
    items = section.texts("pre_install")
    if items:
        findings.warn(
            "deprecated-key",
            "'build.pre_install' is deprecated, and its commands come after those of 'build.run'",
            "move the commands to the end of 'run'",
            section.line_of("pre_install"),
        )
    for item in items:
        if (line := _one_line(item, findings)) is not None:
            yield BuildCommand(command=line)


def _one_line(command: Text | None, findings: Findings) -> str | None:
    if command is None or not command.text:
        return None
    if "\n" not in command.text:
        return command.text
    findings.error(
        "several-lines",
        f"the command '{shortened(command.text.splitlines()[0])}' goes on in another line",
        "make each line an item of its own, or join them with '&&'",
        command.line,
    )
    return None


def _mounts(entry: Section, findings: Findings) -> Iterator[tuple[str, str]]:
    right_form = "write 'mounts: [{type: secret, id: NAME, target: /run/secrets/NAME}]'"
    for item in entry.items("mounts", right_form):
        if not isinstance(item, Mapping):
            findings.error("mount", "an item of 'mounts' is not a mapping", right_form, item.line)
            continue
        mount = Section(item, findings, "build.run.mounts")
        kind, secret, target = mount.text("type"), mount.text("id"), mount.text("target")
        if kind is None or kind.text != "secret" or secret is None or target is None:
            findings.error("mount", "a mount needs 'type: secret', 'id' and 'target'", right_form, item.line)
        else:
            yield secret.text, target.text
