"""Every check there is, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Sequence

from drivetrain.dialects.cog.doctor import (
    build_checks,
    code_checks,
    config_checks,
    file_checks,
    host_checks,
    import_checks,
    signature_checks,
)
from drivetrain.dialects.cog.doctor.case import Case, ConfigFile
from drivetrain.dialects.cog.doctor.diagnosis import Check, Subject, Verdict

#: About the config file alone. The first decides whether there is anything to ask the others.
CONFIG_CHECKS: Sequence[Check[ConfigFile]] = (
    Check(name="config-parse", about="the config is proper YAML", examine=config_checks.syntax),
    Check(name="config-schema", about="its keys and values are right", examine=config_checks.schema),
    Check(name="config-deprecated-fields", about="none of its keys is out of date", examine=config_checks.deprecated_fields),
)

#: About a project whose config is right.
PROJECT_CHECKS: Sequence[Check[Case]] = (
    Check(name="config-predict-ref", about="what it names to run is there", examine=config_checks.reference),
    Check(name="config-build-commands", about="no commands that only an image build runs", examine=build_checks.commands),
    Check(name="config-build-weights", about="no weights that only an image build fetches", examine=build_checks.weight_downloads),
    Check(name="config-torch-version", about="with a GPU, the version of PyTorch is fixed", examine=build_checks.torch_version),
    Check(name="config-secrets", about="no secrets", examine=build_checks.secrets),
    Check(name="env-python-version", about="the Python it asks for is there or can be fetched", examine=host_checks.python_version),
    Check(name="env-system-packages", about="the system packages it asks for are installed", examine=host_checks.system_packages),
    Check(name="env-gpu", about="the GPU it asks for is there, with a driver", examine=host_checks.gpu),
    Check(name="env-cache", about="there is room for its environment", examine=host_checks.cache),
    Check(name="python-deprecated-imports", about="it imports what Cog has", examine=import_checks.deprecated_imports),
    Check(name="python-pydantic-basemodel", about="no 'cog.BaseModel' taken for pydantic's", examine=code_checks.pydantic_models),
    Check(
        name="python-missing-type-annotations",
        about="inputs and outputs have types",
        examine=signature_checks.missing_annotations,
    ),
    Check(name="python-optional-inputs", about="inputs that may be left out say so", examine=signature_checks.optional_inputs),
    Check(name="python-output-types", about="outputs have a JSON form", examine=signature_checks.output_types),
    Check(name="python-mutable-defaults", about="no default is changed", examine=signature_checks.mutable_defaults),
    Check(name="python-absolute-paths", about="no paths that are right in an image only", examine=code_checks.absolute_paths),
    Check(name="python-exit-at-import", about="importing it does not end the process", examine=code_checks.exits_at_import),
    Check(name="python-blocking-calls", about="coroutines do not block", examine=code_checks.blocking_calls),
    Check(name="project-large-files", about="no large files that an image build would copy", examine=file_checks.large_files),
    Check(name="predict-to-run-migration", about="it says 'run', as newer releases of Cog do", examine=config_checks.migration),
)


def examine(config: ConfigFile, case: Case | None) -> tuple[Verdict, ...]:
    """Make every check that can be made.

    Args:
        config: The project's config file.
        case: The project, if its config is right.
    """
    syntax, *others = CONFIG_CHECKS
    first = _verdict(syntax, config)
    readable = None if first.diagnoses else config
    return (first, *(_verdict(check, readable) for check in others), *(_verdict(check, case) for check in PROJECT_CHECKS))


def _verdict(check: Check[Subject], subject: Subject | None) -> Verdict:
    if subject is None:
        return Verdict(name=check.name, about=check.about, was_made=False)
    return Verdict(name=check.name, about=check.about, diagnoses=tuple(check.examine(subject)))
