"""Reads cog.yaml in the forms that all versions of Cog have given it, and notes everything that is wrong in it at once.

The versions differ in what they accept. Where one of them accepts a form and it has a meaning, so do we; keys nobody knows
are warned of, as the older versions refused them and the newer ones silently pass over them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import msgspec
from msgspec.structs import replace

from drivetrain.dialects.cog import build_section
from drivetrain.dialects.cog.environment_variables import read_variables
from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.reference import read_reference
from drivetrain.dialects.cog.section import Section, shortened
from drivetrain.dialects.cog.weights_section import read_weights
from drivetrain.dialects.cog.yaml_nodes import Mapping, Scalar, parse_yaml
from drivetrain.model.finding import Finding
from drivetrain.model.project import BatchPolicy, EnvironmentSpec, Project, Reference

DIALECT = "cog"

KEYS = frozenset({"build", "image", "model", "run", "predict", "train", "concurrency", "environment", "weights"})
CONCURRENCY_KEYS = frozenset({"max", "batch"})
BATCH_KEYS = frozenset({"max_size", "max_wait_ms"})
GONE_KEYS = {
    "tests": "remove it",
    "examples": "remove it",
    "workdir": "remove it; the project's directory is the working directory",
}

_BASE_IMAGE = re.compile(
    r"(?:docker\.io/)?(?:library/)?(?:nvidia/cuda|python|ubuntu|debian|alpine|pytorch/pytorch|r8\.im/cog-base)(?:[:@].*)?"
)
_REPOSITORY = re.compile(r"[^\s/:@]+(?::[0-9]+)?(?:/[^\s/:@]+)+")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a config file.

    Attributes:
        project: The project it describes; ``None`` exactly if there is an error among the findings.
        findings: Everything that was found, errors first.
    """

    project: Project | None
    findings: tuple[Finding, ...]


def read_config(text: str, *, file: Path, root: Path, shown_as: str) -> Reading:
    """Read the text of a cog.yaml. Never raises, whatever the text.

    Args:
        text: The file's content.
        file: The file's path.
        root: The project's directory; the requirements files that the config names are read from here.
        shown_as: The file as the user would name it.
    """
    findings = Findings(shown_as)
    top = _top_level(text, findings)
    project = _project(top, file=file, root=root, findings=findings)
    return Reading(project=None if findings.has_error else project, findings=findings.in_order())


def _top_level(text: str, findings: Findings) -> Section:
    node = parse_yaml(text, findings)
    if node is None or isinstance(node, Mapping):
        return Section(node, findings)
    if not (isinstance(node, Scalar) and node.is_null):
        findings.error("wrong-form", "the file holds no keys", "write 'predict: predict.py:Predictor', for example", node.line)
    return Section(None, findings)


def _project(top: Section, *, file: Path, root: Path, findings: Findings) -> Project:
    build = top.section("build", "write 'build:' with its keys indented below it")
    concurrency = top.section("concurrency", "write 'concurrency: {max: 4}'")
    _warn_of_unknown_keys(top, build, concurrency)
    return Project(
        root=root,
        dialect=DIALECT,
        config_file=file,
        environment=_environment(top, build, file=file, root=root, findings=findings),
        predict=_predict(top, findings),
        train=read_reference("train", top.text("train"), "train", findings),
        concurrency=concurrency.count("max"),
        batch=_batch(concurrency),
        image=_image(top, findings),
        model=_model(top, findings),
        weights=read_weights(top, findings),
    )


def _warn_of_unknown_keys(top: Section, build: Section, concurrency: Section) -> None:
    top.warn_of_unknown_keys(KEYS, gone=GONE_KEYS, elsewhere={"build": build_section.KEYS, "concurrency": CONCURRENCY_KEYS})
    build.warn_of_unknown_keys(build_section.KEYS, gone=build_section.GONE_KEYS, elsewhere={"": KEYS})
    concurrency.warn_of_unknown_keys(CONCURRENCY_KEYS, gone={"default_target": "remove it; 'max' is the limit"}, elsewhere={})


def _batch(concurrency: Section) -> BatchPolicy | None:
    """Our own key: Cog has none for it, and ignores this one."""
    batch = concurrency.section("batch", "write 'batch: {max_size: 16, max_wait_ms: 5}'")
    batch.warn_of_unknown_keys(BATCH_KEYS, gone={}, elsewhere={})
    if batch.line is None:
        return None
    max_size, wait = batch.count("max_size"), batch.count("max_wait_ms")
    policy = BatchPolicy()
    return BatchPolicy(
        max_size=max_size or policy.max_size,
        max_wait=timedelta(milliseconds=wait) if wait is not None else policy.max_wait,
    )


def _environment(top: Section, build: Section, *, file: Path, root: Path, findings: Findings) -> EnvironmentSpec:
    spec = build_section.read_build(build, file=file, root=root, findings=findings)
    return replace(spec, variables=read_variables(top.texts("environment", glue="="), findings))


def _predict(top: Section, findings: Findings) -> Reference | None:
    run, predict = top.text("run"), top.text("predict")
    if run is not None and predict is not None:
        findings.error(
            "predict-twice",
            "'run' and 'predict' are two names of one key, and both are given",
            "keep the one that names your predictor",
            max(run.line, predict.line),
        )
    return read_reference("run", run, "Runner", findings) or read_reference("predict", predict, "Predictor", findings)


def _image(top: Section, findings: Findings) -> str | None:
    image = top.text("image")
    if image is None:
        return None
    if _BASE_IMAGE.fullmatch(image.text):
        findings.warn(
            "image-is-a-name",
            f"'image' names the image to build, but '{shortened(image.text)}' looks like one to build on",
            "write the name your image shall have, or remove the key",
            image.line,
        )
    return image.text


def _model(top: Section, findings: Findings) -> str | None:
    model = top.text("model")
    if model is None:
        return None
    if ".py:" in model.text:
        problem, remedy = "names a Python class", f"write 'predict: {shortened(model.text)}'"
    elif top.line_of("image") is not None:
        problem, remedy = "cannot be given together with 'image'", "keep one of the two"
    elif not _REPOSITORY.fullmatch(model.text):
        problem, remedy = "is not of the form 'registry/repository'", "write it without scheme, tag and digest"
    else:
        return model.text
    findings.error("model", f"'model: {shortened(model.text)}' {problem}", remedy, model.line)
    return None
