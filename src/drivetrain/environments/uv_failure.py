"""Put uv's failures into our words.

uv writes what failed, then one cause of it after the other, then hints. Between them stand the logs of builds, indented. Newer
versions begin a cause with ``cause:``, older ones with ``Caused by:`` or the lines of a tree.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from drivetrain.model.errors import DrivetrainError, OutsideFailed, ProjectError

_PART = re.compile(r"^(?:error: |\s*\N{MULTIPLICATION SIGN} |\s*[├╰]─▶ |\s*cause: |\s*Caused by: |(?P<hint>\s*hint: ))")
_TREE = re.compile(r"^\s*│ ?")

#: A failed compiler writes its reason near its end.
_LOG_LINES = 30

_UNREACHABLE = re.compile(
    r"error sending request|dns error|tcp connect error|client error \(connect\)|connection (?:refused|reset|closed)|timed out|"
    r"network is unreachable|network was disabled|unsuccessful tunnel|could not resolve host|failed to connect|"
    r"couldn't connect to server",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?:failed to fetch: |url \(|remote requirements file: |failed to download |unable to access )[`']?"
    r"((?:https?|file|ssh)://[^\s`')]+)",
    re.IGNORECASE,
)
_STATUS = re.compile(r"HTTP status \w+ error \((\d+) ([^)]*)\) for url \(([^)\s]+)\)")
_BUILT = re.compile(r"Failed to (?:build|download and build) `([^`]+)`")
_NO_PACKAGE = re.compile(r"^Because (\S+) was not found in [\w ]+ and you require \1\S*, we can conclude")
_NO_VERSION = re.compile(r"^Because there is no version of (\S+) and you require \1, we can conclude")
_NO_PERMISSION = re.compile(r"permission denied \(os error|read-only file system \(os error", re.IGNORECASE)


@dataclass(frozen=True)
class UvFailure:
    """A call of uv that failed.

    Attributes:
        output: All it wrote.
    """

    output: str

    @property
    def is_network(self) -> bool:
        """Whether something could not be reached."""
        return any(_UNREACHABLE.search(_flat(text)) for text in (*self._headlines, *self._hints, self._git_says))

    @property
    def is_torch_index(self) -> bool:
        """Whether it could not be reached, and was one of PyTorch's."""
        return self.is_network and "/whl/" in self._address

    @property
    def is_conflict(self) -> bool:
        """Whether no versions were found that satisfy the requirements."""
        return bool(self._causes) and "No solution found" in self._causes[0] and not self.is_network

    @property
    def is_build(self) -> bool:
        """Whether a package could not be built from source."""
        return "build backend returned an error" in self.output and not self.is_network

    @property
    def reason(self) -> str:
        """What it comes down to, in a few words."""
        if not self.is_network:
            return _cleaned(self._headlines[-1]) if self._causes else "uv did not say why"
        if self._is_offline:
            return "uv is told to do without the network, and has not fetched all before"
        why = _flat(self._git_says).partition("': ")[2] or self._headlines[-1].rpartition(": ")[2]
        host = urlsplit(self._address).netloc.rpartition("@")[2]
        return f"{repr(host) if host else 'the network'} cannot be reached ({_cleaned(why).rstrip('.')})"

    def explain(self, doing: str) -> DrivetrainError:
        """The error to raise.

        Args:
            doing: What failed, as in "cannot install the requirements".
        """
        if "No space left on device" in self.output:
            return OutsideFailed(f"{doing}: the disk is full", hint="free some space, or set DRIVETRAIN_CACHE_DIR to another disk")
        if self.is_network:
            hint = "unset UV_OFFLINE" if self._is_offline else _NETWORK_HINT
            return OutsideFailed(f"{doing}: {self.reason}", hint=hint)
        if self._git_says:
            return OutsideFailed(f"{doing}: git could not fetch {self._package or 'a repository'}", detail=self._git_says)
        if status := next((match for text in self._headlines if (match := _STATUS.search(text))), None):
            return OutsideFailed(f"{doing}: '{status[3]}' answered {status[1]} {status[2]}", hint=_STATUS_HINTS.get(status[1]))
        if self.is_build:
            return self._explain_build(doing)
        if self.is_conflict:
            return self._explain_conflict(doing)
        if denied := next((text for text in reversed(self._headlines) if _NO_PERMISSION.search(text)), None):
            return OutsideFailed(
                f"{doing}: {_cleaned(denied)}",
                hint="set DRIVETRAIN_CACHE_DIR and UV_CACHE_DIR to directories that can be written to",
            )
        return OutsideFailed(doing, detail=self._everything, hint=self._hint)

    def _explain_build(self, doing: str) -> DrivetrainError:
        _, _, log = self.output.partition("[stderr]")
        log = log or self.output.partition("[stdout]")[2]
        lines = [line for line in log.splitlines() if not _PART.match(line)]
        return ProjectError(
            f"{doing}: building {self._package or 'a package'} from source failed",
            detail=textwrap.dedent("\n".join(lines[-_LOG_LINES:])).strip("\n"),
            hint=self._hint if "likely" in (self._hint or "") else _BUILD_HINT,  # its other hints on builds say little
        )

    def _explain_conflict(self, doing: str) -> DrivetrainError:
        why = self._causes[-1]
        if match := _NO_PACKAGE.match(why):
            return ProjectError(
                f"{doing}: there is no package '{match[1]}'", hint=self._hint or "correct its name in the requirements"
            )
        if match := _NO_VERSION.match(why):
            return ProjectError(f"{doing}: there is no version '{match[1]}'", hint=self._hint or "change it in the requirements")
        return ProjectError(
            f"{doing}: no versions of the packages satisfy them all",
            detail=_cleaned(why),
            hint=self._hint or "change one of the requirements named above, or the version of Python",
        )

    @cached_property
    def _parts(self) -> tuple[list[str], list[str]]:
        causes: list[str] = []
        hints: list[str] = []
        current: list[str] | None = None
        for line in self.output.splitlines():
            if match := _PART.match(line):
                current = hints if match["hint"] else causes
                current.append(line[match.end() :])
            elif current:
                current[-1] += "\n" + _TREE.sub("", line)
        return causes, hints

    @property
    def _is_offline(self) -> bool:
        return any("network was disabled" in _flat(hint) for hint in self._hints)

    @property
    def _causes(self) -> list[str]:
        return self._parts[0]

    @property
    def _headlines(self) -> list[str]:
        """The causes without the logs that belong to them."""
        return [cause.partition("\n\n")[0].replace("\n", " ") for cause in self._causes]

    @property
    def _hints(self) -> list[str]:
        return self._parts[1]

    @property
    def _hint(self) -> str | None:
        return _cleaned(" ".join(self._hints)) or None

    @property
    def _everything(self) -> str:
        return "\n".join(map(_cleaned, self._causes)) or self.output[-2000:].strip()

    @property
    def _address(self) -> str:
        return match[1] if (match := _ADDRESS.search(self.output)) else ""

    @property
    def _package(self) -> str | None:
        match = _BUILT.search(_flat(self.output))
        return f"'{match[1].partition(' @ ')[0]}'" if match else None

    @property
    def _git_says(self) -> str:
        return _cleaned(self.output.partition("--- stderr")[2])


_NETWORK_HINT = (
    "check the network (UV_OFFLINE=1 makes do with what was fetched before); UV_DEFAULT_INDEX or PIP_INDEX_URL names another index"
)
_BUILD_HINT = "the log above says why; a version that has a wheel for this Python needs no building"

_STATUS_HINTS = {
    "401": "check the credentials in the address",
    "403": "check the credentials in the address",
    "404": "correct the address in the requirements",
}


def _flat(text: str) -> str:
    """As one line, as it was before older versions of uv broke it to fit a terminal."""
    return re.sub(r"\s*\n[\s│]*", " ", text)


def _cleaned(text: str) -> str:
    """Without what is of use only to those who call uv themselves, and quoted as we quote."""
    first, _, rest = re.sub(r" \((?:os error \d+|try: `[^`]*`)\)", "", text).partition("\n")
    lines = re.sub(r"`([^`\n]*)`", r"'\1'", f"{first.strip()}\n{textwrap.dedent(rest)}").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()
