"""The ``weights:`` list of cog.yaml: sets of files that must be in place when the model starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from posixpath import normpath

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.section import Section, Text, shortened
from drivetrain.dialects.cog.yaml_nodes import Mapping, Node
from drivetrain.dialects.cog.yaml_nodes import Sequence as SequenceNode
from drivetrain.model.project import Weight, WeightSource

_FORM = "write 'weights: [{name: base, target: /src/weights, source: {uri: hf://org/repo}}]'"
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_HUGGING_FACE = re.compile(r"hf://[^/@\s]+/[^/@\s]+(?:@[^@\s]+)?")
_WEB_OR_FILE = re.compile(r"(?:https|file)://\S+")


def read_weights(section: Section, findings: Findings) -> tuple[Weight, ...]:
    """The weights the top-level ``section`` asks for; those that are wrong are left out and noted."""
    weights: list[Weight] = []
    for item in section.items("weights", _FORM):
        weight = _weight(item, weights, findings)
        if weight is not None:
            weights.append(weight)
    return tuple(weights)


def _weight(item: Node, before: Sequence[Weight], findings: Findings) -> Weight | None:
    if not isinstance(item, Mapping):
        findings.error("weights", "an item of 'weights' is not a mapping", _FORM, item.line)
        return None
    section = Section(item, findings, "weights")
    section.warn_of_unknown_keys({"name", "target", "source"}, gone={}, elsewhere={})
    name = _name(section.text("name"), item.line, before, findings)
    target = _target(section.text("target"), item.line, before, findings)
    sources = tuple(_sources(section, findings))
    if name is None or target is None or not sources:
        return None
    return Weight(name=name, target=target, sources=sources)


def _name(value: Text | None, line: int, before: Sequence[Weight], findings: Findings) -> str | None:
    if value is None:
        findings.error("weights", "an item of 'weights' has no 'name'", _FORM, line)
    elif not _NAME.fullmatch(value.text):
        findings.error(
            "weights",
            f"'{shortened(value.text)}' is not a name for a weight",
            "use lower-case letters and digits, with single '.', '_' or '-' between them",
            value.line,
        )
    elif any(value.text == weight.name for weight in before):
        findings.error("weights", f"two weights are named '{value.text}'", "rename one of them", value.line)
    else:
        return value.text
    return None


def _target(value: Text | None, line: int, before: Sequence[Weight], findings: Findings) -> str | None:
    if value is None:
        findings.error("weights", "an item of 'weights' has no 'target'", _FORM, line)
        return None
    target = "/" + normpath(value.text).lstrip("/")
    if not value.text.startswith("/") or target == "/":
        findings.error(
            "weights", f"'{shortened(value.text)}' is not a target", "write an absolute path, such as /src/weights", value.line
        )
        return None
    for weight in before:
        if f"{target}/".startswith(f"{weight.target}/") or f"{weight.target}/".startswith(f"{target}/"):
            findings.error(
                "weights",
                f"the target '{shortened(target)}' overlaps with '{shortened(weight.target)}' of weight '{weight.name}'",
                "give each weight a directory of its own, side by side",
                value.line,
            )
            return None
    return target


def _sources(weight: Section, findings: Findings) -> Iterator[WeightSource]:
    node = weight.value_of("source")
    if node is None:
        findings.error("weights", "an item of 'weights' has no 'source'", _FORM, weight.line)
        return
    for item in node.items if isinstance(node, SequenceNode) else [node]:
        if not isinstance(item, Mapping):
            findings.error("weights", "a 'source' is not a mapping", "write 'source: {uri: hf://org/repo}'", item.line)
            continue
        section = Section(item, findings, "weights.source")
        section.warn_of_unknown_keys({"uri", "include", "exclude"}, gone={}, elsewhere={})
        uri = _uri(section.text("uri"), item.line, findings)
        include = _patterns(section.texts("include"), findings)
        exclude = _patterns(section.texts("exclude"), findings)
        if uri is not None:
            yield WeightSource(uri=uri, include=include, exclude=exclude)


def _uri(value: Text | None, line: int, findings: Findings) -> str | None:
    if value is None:
        findings.error("weights", "a 'source' has no 'uri'", "write 'uri: hf://org/repo'", line)
        return None
    uri = value.text
    if _HUGGING_FACE.fullmatch(uri) or _WEB_OR_FILE.fullmatch(uri) or "://" not in uri:
        return uri
    findings.error(
        "weights",
        f"'{shortened(uri)}' is not a place that weights come from",
        "write hf://org/repo, hf://org/repo@revision, https://..., file://... or a path",
        value.line,
    )
    return None


def _patterns(items: Sequence[Text], findings: Findings) -> tuple[str, ...]:
    kept = []
    for item in items:
        if item.text.startswith("!") or "\\" in item.text:
            findings.error(
                "weights",
                f"the pattern '{shortened(item.text)}' begins with '!' or holds a backslash",
                "use 'exclude' for what is not wanted, and '/' between directories",
                item.line,
            )
        else:
            kept.append(item.text)
    return tuple(kept)
