"""Models that use pydantic, of either major version, and numpy."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["pydantic<2", "pydantic>=2"])
def report(request, tmp_path_factory):
    """What ``pydantic_model.py`` prints in an environment with that pydantic."""
    picture = tmp_path_factory.mktemp("inputs") / "mask.png"
    picture.write_bytes(b"")
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    packages = ["--python", sys.executable, "--with", request.param, "--with", "numpy"]
    program = "import sys, runpy; sys.path[:0] = {!r}; sys.argv[1:] = [{!r}]; runpy.run_path({!r}, run_name='__main__')".format(
        sys.path[:2], str(picture), str(HERE / "pydantic_model.py")
    )
    command = [uv, "run", "--quiet", "--isolated", "--no-project", *packages, "python", "-W", "ignore", "-c", program]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(finished.stdout)


pytestmark = pytest.mark.slow


def test_a_model_that_uses_pydantic_is_one(report):
    assert report["is_pydantic"]
    assert report["is_cog"]


def test_fields_are_described(report):
    [region, _, foreign] = report["signature"]["inputs"]
    assert region["type"]["fields"] == [
        {"name": "x", "type": {"kind": "integer"}, "required": True, "description": "From the left"},
        {"name": "mask", "type": {"kind": "optional", "of": {"kind": "path"}}, "required": False},
        {"name": "children", "type": {"kind": "list", "items": {"kind": "object"}}, "required": False, "default": []},
    ]
    assert [field["type"]["kind"] for field in foreign["type"]["of"]["fields"]] == ["secret", "path"]
    assert [field["name"] for field in report["signature"]["output"]["fields"]] == ["text", "region", "extra", "type"]


def test_inputs_are_instances_with_cog_types_inside(report):
    assert report["arguments"] == ["cog.types", "**********"]


def test_outputs_are_encoded_with_their_files(report):
    region = {"x": 6, "mask": None, "children": [{"x": 2, "mask": None, "children": []}]}
    value, [file] = report["output"]
    assert value == {"text": "t", "region": region, "extra": {}, "kind": "fancy"}
    assert (file["pointer"], file["name"]) == (["region", "mask"], "mask.png")


def test_numpy_values_become_plain_ones(report):
    assert report["arrays"] == [{"values": [1.5, 2.0]}, [[0.0, 0.0]], [1, 0.5, True, "s", 2.0]]


def test_cog_types_have_a_schema(report):
    assert report["schema"]["path"] == {"title": "Path", "type": "string", "format": "uri"}
    assert report["schema"]["key"]["x-cog-secret"]
