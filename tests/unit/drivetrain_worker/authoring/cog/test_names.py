"""Everything authors import from ``cog`` is there, and importing it is cheap."""

import importlib
import subprocess
import sys
import warnings

import cog
import pytest


@pytest.mark.parametrize("name", cog.__all__)
def test_every_public_name_is_there(name):
    assert getattr(cog, name) is not None
    assert name in dir(cog)


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="module 'cog' has no attribute 'Prophet'"):
        cog.Prophet  # noqa: B018 (the access is what is tested)


def test_a_name_of_the_first_releases_says_what_to_write_instead():
    with pytest.raises(AttributeError, match=r"derive from cog\.BasePredictor"):
        cog.Predictor  # noqa: B018 (the access is what is tested)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("cog.types", "Path"),
        ("cog.types", "Input"),
        ("cog.types", "ConcatenateIterator"),
        ("cog.predictor", "BasePredictor"),
        ("cog.base_predictor", "BasePredictor"),
        ("cog.server.exceptions", "CancelationException"),
        ("cog.server.scope", "current_scope"),
        ("cog.model", "BaseModel"),
        ("cog.input", "Input"),
    ],
)
def test_names_are_the_same_where_older_releases_had_them(module, name):
    assert getattr(importlib.import_module(module), name) is getattr(cog, name)


def test_importing_cog_imports_nothing_of_weight():
    program = "import sys; import cog; from cog import BaseModel, BasePredictor, Input, Path; print(*sorted(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": sys.path[0]}, stdout=subprocess.PIPE, check=True
    )
    loaded = set(finished.stdout.decode().split())
    assert "cog.predictor" in loaded
    assert not loaded & {"dataclasses", "inspect", "mimetypes", "pydantic", "tempfile", "urllib.request"}


def test_cancelation_passes_through_handlers_of_errors():
    assert not issubclass(cog.CancelationException, Exception)


def test_the_warning_of_older_releases_can_be_silenced():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=cog.ExperimentalFeatureWarning)
        warnings.warn("silenced", category=cog.ExperimentalFeatureWarning, stacklevel=1)


def test_the_openapi_command_says_where_the_document_is():
    finished = subprocess.run(
        [sys.executable, "-m", "cog.command.openapi_schema"], env={"PYTHONPATH": sys.path[0]}, stderr=subprocess.PIPE
    )
    assert finished.returncode == 1
    assert b"/openapi.json" in finished.stderr
