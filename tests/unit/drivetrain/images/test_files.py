"""Which files go into an image."""

import os

import pytest

from drivetrain.images.archive import Kind
from drivetrain.images.files import LONE_BYTES, WEIGHT_BYTES, project_files
from drivetrain.model.errors import ProjectError
from drivetrain.model.project import EnvironmentSpec, Project

KEY = "-----BEGIN " + "PRIVATE KEY-----"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "cog.yaml").write_text("predict: predict.py:P\n")
    return tmp_path


def look(root, config="cog.yaml", **options):
    project = Project(root=root, dialect="cog", config_file=root / config, environment=EnvironmentSpec(root=root))
    return project_files(project, **options)


def write(root, name, text="x", size=None):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if size is not None:
        with path.open("wb") as file:
            file.truncate(size)


def code(root, **options):
    return [entry.name for entry in look(root, **options).code]


def test_all_files_go_in_but_what_python_and_we_left(root):
    for name in ("predict.py", "sub/a.txt", "__pycache__/predict.pyc", ".cog/old.json"):
        write(root, name)
    assert code(root) == ["src/cog.yaml", "src/predict.py", "src/sub/a.txt"]


def test_a_directory_of_which_nothing_goes_in_is_there_all_the_same(root):
    (root / "outputs" / "deep").mkdir(parents=True)
    (root / "__pycache__").mkdir()
    write(root, "cache/old.png")
    write(root, "data/x.txt")
    write(root, ".dockerignore", "cache/*\ndata\n")
    found = {entry.name: entry.owner for entry in look(root, owner=7).code if entry.kind is Kind.DIRECTORY}
    assert found == {"src/cache": 7, "src/outputs/deep": 7}


def test_an_ignored_directory_that_is_empty_stays_out(root):
    (root / "data").mkdir()
    write(root, ".dockerignore", "data\n!other\n")
    assert "src/data" not in code(root)


def test_a_config_of_another_name_is_the_config_in_the_image(root):
    write(root, "other.yaml", "other")
    files = look(root, config="other.yaml").code
    assert [entry.source.read_text() for entry in files if entry.name == "src/cog.yaml"] == ["other"]


@pytest.mark.parametrize(
    ("size", "name", "is_weight"),
    [
        (WEIGHT_BYTES, "model.bin", True),
        (WEIGHT_BYTES - 1, "model.bin", False),
        (WEIGHT_BYTES, "film.mp4", False),
        (WEIGHT_BYTES, "big.py", False),
    ],
)
def test_large_files_that_are_neither_code_nor_media_are_weights(root, size, name, is_weight):
    write(root, name, size=size)
    assert bool(look(root).weights) is is_weight


def test_the_largest_weights_have_layers_of_their_own(root):
    for name, size in (("a.bin", LONE_BYTES), ("b.bin", WEIGHT_BYTES), ("c.bin", WEIGHT_BYTES), ("d.bin", LONE_BYTES)):
        write(root, name, size=size)
    layers = [[entry.name for entry in layer] for layer in look(root).weights]
    assert layers == [["src/b.bin", "src/c.bin"], ["src/a.bin"], ["src/d.bin"]]


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "a/id_rsa", ".netrc", "x.p12", ".npmrc", "credentials.json", ".ssh/config", ".kube/config", "key.pem"],
)
def test_what_looks_like_a_secret_stays_out_and_is_named(root, name):
    write(root, name, KEY)
    files = look(root)
    assert [entry.name for entry in files.code if entry.kind is Kind.FILE] == ["src/cog.yaml"]
    (finding,) = files.left_out
    assert f"'{name.split('/')[0] if name.startswith('.') else name}'" in finding.problem


@pytest.mark.parametrize("name", [".env.example", "environment.py", "public.pem", "keys.txt", "monkey.key"])
def test_what_only_sounds_like_one_goes_in(root, name):
    write(root, name)
    assert f"src/{name}" in code(root)


def test_a_secret_that_is_ignored_anyway_is_not_spoken_of(root):
    write(root, ".env")
    write(root, ".dockerignore", ".env\n")
    assert look(root).left_out == ()


def test_links_within_the_project_stay_links(root):
    write(root, "real/data.txt")
    (root / "near").symlink_to("real/data.txt")
    (root / "far").symlink_to("/src/real")
    targets = {entry.name: entry.target for entry in look(root).code if entry.target}
    assert targets == {"src/near": "real/data.txt", "src/far": "/src/real"}


def test_all_links_that_lead_out_are_named(root):
    (root / "one").symlink_to("../elsewhere")
    (root / "sub").mkdir()
    (root / "sub" / "two").symlink_to("/etc/passwd")
    with pytest.raises(ProjectError, match="2 links lead out") as caught:
        look(root)
    assert ["'one'" in str(finding) or "'sub/two'" in str(finding) for finding in caught.value.findings] == [True, True]


def test_an_ignored_link_may_lead_anywhere(root):
    (root / "one").symlink_to("/etc/passwd")
    write(root, ".dockerignore", "one\n")
    assert "src/one" not in code(root)


def test_files_belong_to_the_user(root):
    assert {entry.owner for entry in look(root, owner=7).code} == {7}


def test_a_directory_that_cannot_be_read_is_named(root):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (root / "closed").mkdir(mode=0o000)
    with pytest.raises(ProjectError, match="closed' cannot be read"):
        look(root)
