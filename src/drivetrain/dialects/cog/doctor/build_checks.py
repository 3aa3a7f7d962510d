"""What the config says of the build: what of it happens in an image only, and what had better not be in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from drivetrain.dialects.cog.doctor.case import Case
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.dialects.cog.section import shortened
from drivetrain.model.finding import Severity

_FETCHES_WEIGHTS = re.compile(
    r"snapshot_download|hf_hub_download|from_pretrained|huggingface-cli\s+download|\bhf\s+download|\bgdown\b|download[-_]?(weights|models?)"
    r"|\b(wget|curl|pget|aria2c|aws\s+s3|gsutil|gcloud\s+storage)\b.*(\.(safetensors|bin|pth?|ckpt|onnx|gguf|h5|tflite|npz)\b|weights|checkpoint)"
)

#: What commands mostly do, told by their words, and what to do about each here.
_BY_HAND = (
    (
        re.compile(r"\bapt(-get)?\b"),
        "name the packages in 'build.system_packages', or install them by hand: sudo apt-get install ...",
    ),
    (re.compile(r"\bpip3?\s+install\s+(-\S+\s+)*['\"]?cog\b"), "nothing need be done: drivetrain brings 'cog'"),
    (re.compile(r"\bpip3?\s+install\b|\buv\s+pip\b"), "add what it installs to the requirements; these are installed here too"),
    (re.compile(r"\bgit\s+clone\b"), "clone it by hand to where the code looks for it"),
    (re.compile(r"/usr/(local/)?s?bin\b|\bchmod\b"), "install the program by hand, to a directory on PATH"),
)

_UNPINNED_TORCH = re.compile(r"torch(?![\w.-])(?!.*(==|@))", re.IGNORECASE)

_SECRET_NAME = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|CREDENTIALS?)(_ID)?$", re.I
)
_SECRET_VALUE = re.compile(
    r"hf_\w{20,}|sk-[\w-]{20,}|r8_\w{20,}|gh[opsu]_\w{20,}|github_pat_\w{20,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{10,}|-----BEGIN "
)
#: A path, a number or a switch is no secret, whatever its name.
_HARMLESS_VALUE = re.compile(r"[~.]?/.*|[0-9.]*|true|false|none|null", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]+:(?!\$)[^/\s@]+@")


def commands(case: Case) -> Iterator[Diagnosis]:
    """Commands that an image build runs, and nobody here."""
    return (_left_out(case, command, _by_hand(command)) for command in _command_lines(case) if not _FETCHES_WEIGHTS.search(command))


def weight_downloads(case: Case) -> Iterator[Diagnosis]:
    """Weights that an image build fetches, and nobody here."""
    for command in _command_lines(case):
        if _FETCHES_WEIGHTS.search(command):
            remedy = f"fetch them in 'setup', or once by hand, to where the code looks for them: {_as_typed(command)}"
            yield _left_out(case, command, remedy)


def torch_version(case: Case) -> Iterator[Diagnosis]:
    """PyTorch in whatever version there is on the day."""
    if not case.environment.gpu:
        return
    for line in filter(_UNPINNED_TORCH.match, case.environment.requirements):
        yield Diagnosis(
            severity=Severity.WARNING,
            problem=f"'{line}' leaves the versions of PyTorch and CUDA open, which Cog refuses with 'gpu: true'",
            remedy="write 'torch==' and the version that the model was tried with",
        )


def secrets(case: Case) -> Iterator[Diagnosis]:
    """What nobody else should read, in files that many do. Never shows it."""
    for name, value in case.environment.variables.items():
        if _is_secret(name, value):
            yield Diagnosis(
                severity=Severity.WARNING,
                problem=f"'{name}' in 'environment' looks like a secret; whoever has the project or an image of it can read it",
                remedy=f"revoke it, remove the item, and give it when the model is run: -e {name}=...",
                file=case.config.shown_as,
                line=_line(case, "environment", f"{name}="),
            )
    for line in case.environment.requirements:
        if match := _PASSWORD_IN_URL.search(line):
            yield Diagnosis(
                severity=Severity.WARNING,
                problem=f"the requirement '{line[: match.start()]}://...' has a password in it",
                remedy="write it as a variable, like '${INDEX_PASSWORD}', and set that in the shell",
            )


def _command_lines(case: Case) -> tuple[str, ...]:
    return tuple(command.command for command in case.environment.commands)


def _left_out(case: Case, command: str, remedy: str) -> Diagnosis:
    return Diagnosis(
        severity=Severity.WARNING,
        problem=f"'{shortened(command)}' belongs to an image build, and is not run here",
        remedy=remedy,
        file=case.config.shown_as,
        line=_line(case, "build", command),
    )


def _by_hand(command: str) -> str:
    remedy = next((remedy for pattern, remedy in _BY_HAND if pattern.search(command)), None)
    if remedy is not None:
        return remedy
    return f"if the project cannot do without it, run it once by hand: {_as_typed(command)}"


def _as_typed(command: str) -> str:
    """The command as one would type it in the project's directory, which an image has at ``/src``."""
    here = re.sub(r"(?<![\w./-])/src(?=/|\s|$|[;&|])", ".", command)
    return f"drivetrain exec sh -c {shlex.quote(here)}"


def _is_secret(name: str, value: str) -> bool:
    if _SECRET_VALUE.search(value) or _PASSWORD_IN_URL.search(value):
        return True
    return _SECRET_NAME.search(name) is not None and _HARMLESS_VALUE.fullmatch(value) is None


def _line(case: Case, key: str, beginning: str) -> int | None:
    return next((scalar.line for scalar in case.config.scalars(key) if scalar.text.strip().startswith(beginning)), None)
