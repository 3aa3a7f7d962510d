"""Is the config file right?"""

from __future__ import annotations

from collections.abc import Iterator

from drivetrain.dialects.cog.doctor.case import Case, ConfigFile
from drivetrain.dialects.cog.doctor.config_edits import remove_key, rename_key
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.dialects.cog.yaml_nodes import Mapping
from drivetrain.model.finding import Severity

#: Codes of what keeps a file from being YAML at all; those of the parser itself begin with ``yaml-``.
_UNREADABLE = frozenset({"not-a-file", "unreadable", "file-too-large", "not-utf8"})
_DEPRECATED = frozenset({"gone-key", "deprecated-key"})

#: Keys that work everywhere still, and that newer releases of Cog warn of.
_OLDER_FORMS = {
    ("build", "python_packages"): "move the packages into a file, and name it with 'python_requirements'",
    ("build", "python_extra_index_urls"): "write '--extra-index-url URL' into the requirements; newer releases pass over the key",
    ("build", "python_find_links"): "write '--find-links URL' into the requirements; newer releases pass over the key",
    ("concurrency", "max"): "write '@cog.concurrent(max=N)' above the method, if Cog 0.22 or later is what you build with",
}


def syntax(config: ConfigFile) -> Iterator[Diagnosis]:
    """What keeps the file from being read."""
    return (Diagnosis.of(finding) for finding in config.reading.findings if _is_about_syntax(finding.code))


def schema(config: ConfigFile) -> Iterator[Diagnosis]:
    """Keys and values that are wrong."""
    for finding in config.reading.findings:
        if not _is_about_syntax(finding.code) and finding.code not in _DEPRECATED:
            yield Diagnosis.of(finding)


def deprecated_fields(config: ConfigFile) -> Iterator[Diagnosis]:
    """Keys that Cog has given up, or is about to."""
    for finding in config.reading.findings:
        if finding.code == "gone-key":
            yield Diagnosis.of(finding, *remove_key(config, finding.line))
        elif finding.code == "deprecated-key":
            yield Diagnosis.of(finding, *rename_key(config, finding.line, "run"))
    for (section, key), remedy in _OLDER_FORMS.items():
        if (line := _line_of(config, section, key)) is not None:
            problem = f"'{section}.{key}' works here, and is deprecated in Cog"
            yield Diagnosis(severity=Severity.NOTE, problem=problem, remedy=remedy, file=config.shown_as, line=line)


def reference(case: Case) -> Iterator[Diagnosis]:
    """Entry points that are not there."""
    if not case.entrances:
        yield Diagnosis(
            severity=Severity.WARNING,
            problem=f"'{case.config.shown_as}' names nothing to run",
            remedy="add a line like 'predict: predict.py:Predictor'",
            file=case.config.shown_as,
        )
    for entrance in case.entrances:
        yield from map(Diagnosis.of, entrance.refusals)
        for doubt in entrance.doubts:
            yield Diagnosis(
                severity=Severity.NOTE,
                problem=doubt,
                remedy="nothing need be done: it is told by the code itself when that is loaded",
                file=entrance.reference.file,
            )


def migration(case: Case) -> Iterator[Diagnosis]:
    """The older of the two names for the same thing."""
    if (line := _line_of(case.config, "predict")) is not None:
        yield Diagnosis(
            severity=Severity.NOTE,
            problem="Cog 0.20 and later say 'run' and 'BaseRunner' where this project says 'predict' and 'BasePredictor'",
            remedy="nothing need be done: both work here and in Cog; whoever follows, renames key, method and base class together",
            file=case.config.shown_as,
            line=line,
        )


def _is_about_syntax(code: str) -> bool:
    return code in _UNREADABLE or code.startswith("yaml-")


def _line_of(config: ConfigFile, *path: str) -> int | None:
    node, line = config.nodes, None
    for key in path:
        entry = node.entries.get(key) if isinstance(node, Mapping) else None
        if entry is None:
            return None
        node, line = entry.value if isinstance(entry.value, Mapping) else None, entry.line
    return line
