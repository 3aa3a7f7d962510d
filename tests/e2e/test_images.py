"""Images built without a container engine, pushed, pulled and inspected through the command line, with a real registry."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

pytestmark = pytest.mark.slow

PREDICTOR = """
from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, text: str = Input(description="What to say"), times: int = 1) -> str:
        return text * times
"""

#: A package of the project's own.
LIBRARY = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "of-our-own"
version = "1.0"

[tool.setuptools]
py-modules = ["of_our_own"]
"""


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """A cache that many tests build in: what the server needs is fetched once."""
    return tmp_path_factory.mktemp("images") / "cache"


@pytest.fixture
def model(project, listed_base, shared_cache):
    """A project that is built on the base that is only listed."""
    made = project(PREDICTOR, config=f'build: {{python_version: "3.11", base: "{listed_base}"}}\npredict: predict.py:Predictor\n')
    made.environ["DRIVETRAIN_CACHE_DIR"] = str(shared_cache)
    return made


def run(project, *arguments, status=0, **options):
    done = project.cli(*arguments, env=None, **options)
    assert done.returncode == status, done.stderr
    return done


def build(project, *arguments, **options):
    """Build; the digest."""
    return run(project, "build", *arguments, **options).stdout.strip()


def refused(project, *arguments, status=1):
    """What a command says that fails."""
    return run(project, *arguments, status=status).stderr


def inspect(project, name, *arguments):
    return json.loads(run(project, "inspect", "--json", *arguments, name).stdout)


def store_of(project):
    return Path(project.environ["DRIVETRAIN_CACHE_DIR"]) / "images"


def content(project, layer):
    """The archive of a layer."""
    data = (store_of(project) / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")).read_bytes()
    if layer["media_type"].endswith("zstd"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    elif layer["media_type"].endswith("gzip"):
        data = gzip.decompress(data)
    return tarfile.open(fileobj=io.BytesIO(data))


def names_in(project, image):
    """Names of all that we put into an image."""
    layers = [layer for layer in inspect(project, image)["layers"] if "base for tests" not in layer["made_by"]]
    return {name for layer in layers for name in content(project, layer).getnames()}


#: What takes long to import and has nothing to do with an edit of a line.
HEAVY = {
    "asyncio",
    "httpx",
    "httpcore",
    "importlib.metadata",
    "rich.console",
    "drivetrain.images.packages",
    "drivetrain.environments.uv",
}


def test_a_push_after_an_edit_imports_nothing_that_it_does_not_need(model, registry_server):
    model.write("main.py", "import sys\nfrom drivetrain.cli.main import run\nrun(sys.argv[1:])\nprint(*sys.modules)\n")
    push = [sys.executable, model.root / "main.py", "push", f"{registry_server.host}/team/light"]
    for number in range(2):
        model.write("predict.py", f"{PREDICTOR}# edit {number}\n")
        done = subprocess.run(push, cwd=model.root, env=model.environment(), capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


# What is built


def test_the_same_project_gives_the_same_image_whoever_builds_it_and_when(model, tmp_path):
    model.write("sub/data.txt", "data")
    first = build(model, "-t", "mine")
    copy = tmp_path / "elsewhere"
    shutil.copytree(model.root, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
        if path.is_file():
            path.chmod(0o600)
    other = {**model.environment(), "DRIVETRAIN_CACHE_DIR": str(tmp_path / "other-cache")}
    done = subprocess.run(
        [Path(sys.executable).parent / "drivetrain", "build"],
        cwd=copy,
        env=other,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == first, done.stderr


def test_an_edit_changes_the_layer_of_the_project_and_no_other(model):
    build(model, "-t", "edited")
    before = inspect(model, "edited")["layers"]
    model.write("predict.py", PREDICTOR + "# edited\n")
    done = run(model, "build", "-t", "edited")
    after = inspect(model, "edited")["layers"]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True] * (len(before) - 1) + [False]
    assert "Resolving" not in done.stderr  # and nothing was resolved for it


def test_the_image_says_what_platforms_for_cog_s_images_read(model):
    model.write(
        "cog.yaml",
        (model.root / "cog.yaml").read_text() + "environment: [GREETING=hello world]\nconcurrency: {max: 1}\n",
    )
    build(model, "-t", "described")
    image = inspect(model, "described")
    assert image["inputs"] == ["text", "times"]
    assert image["config"]["build"]["python_version"] == "3.11"
    assert image["schema"]["components"]["schemas"]["Input"]["required"] == ["text"]
    assert image["command"] == ["python", "-m", "cog.server.http"]
    assert image["ports"] == ["5000/tcp"]
    assert image["variables"]["COG_PREDICT_TYPE_STUB"] == "predict.py:Predictor"
    assert image["variables"]["COG_MAX_CONCURRENCY"] == "1"
    assert image["variables"]["GREETING"] == "hello world"
    assert image["variables"]["PATH"].startswith("/opt/model/bin:")
    assert any(package.startswith("pydantic==") for package in image["packages"])
    assert {"src/predict.py", "src/cog.yaml", "src/.cog/openapi_schema.json"} <= names_in(model, "described")


def test_packages_are_fetched_for_the_platform_of_the_image(model):
    model.write("cog.yaml", (model.root / "cog.yaml").read_text().replace("base:", "python_packages: [numpy==2.2.6], base:"))
    build(model, "-t", "crossed", "--platform", "linux/amd64,linux/arm64", "--no-precompile")
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        image = inspect(model, "crossed", "--platform", platform)
        assert image["platform"] == platform
        (layer,) = [one for one in image["layers"] if one["made_by"].startswith("frameworks: numpy")]
        libraries = [name for name in content(model, layer).getnames() if name.endswith(".so") and "cpython" in name]
        assert libraries
        assert all(machine in name for name in libraries)


def test_a_package_that_is_editable_here_is_in_the_image_as_it_is_now(model):
    model.write("lib/pyproject.toml", LIBRARY)
    model.write("requirements.txt", "-e lib\n")
    model.write("cog.yaml", (model.root / "cog.yaml").read_text().replace("base:", "python_requirements: requirements.txt, base:"))
    for word in ("first", "second"):
        model.write("lib/of_our_own.py", f"WORD = '{word}'\n")
        build(model, "-t", "editable", "--no-precompile")
        image = inspect(model, "editable")
        assert "of-our-own==1.0" in image["packages"]
        assert any(package.startswith("structlog==") for package in image["packages"])
        (layer,) = [one for one in image["layers"] if one["made_by"].startswith("packages: ")]
        packages = content(model, layer)
        module = packages.extractfile("opt/model/lib/python3.11/site-packages/of_our_own.py")
        assert module.read().decode() == f"WORD = '{word}'\n"
        assert not [name for name in packages.getnames() if "__editable__" in name]


def test_weights_are_in_layers_of_their_own_below_the_code(model):
    (model.root / "small.bin").write_bytes(os.urandom(11 * 1024 * 1024))
    (model.root / "large.safetensors").write_bytes(bytes(65 * 1024 * 1024))
    build(model, "-t", "weighty")
    made_by = [layer["made_by"] for layer in inspect(model, "weighty")["layers"]]
    assert made_by[-3:] == ["weights: small.bin", "weights: large.safetensors", "the project"]


def test_the_dockerignore_is_obeyed_and_what_the_server_needs_stays(model):
    model.write(".dockerignore", "*\n!predict.py\n!kept/\nkept/not.txt\n")
    for name in ("notes.txt", "kept/yes.txt", "kept/not.txt"):
        model.write(name, name)
    build(model, "-t", "ignoring")
    files = {name for name in names_in(model, "ignoring") if name.startswith("src/")}
    assert files == {"src/.cog", "src/.cog/openapi_schema.json", "src/cog.yaml", "src/kept", "src/kept/yes.txt", "src/predict.py"}


def test_secrets_repositories_and_environments_stay_out_and_are_named(model):
    key = "-----BEGIN " + "PRIVATE KEY-----\n"
    for name, text in {
        ".env": "TOKEN=1",
        ".git/HEAD": "ref",
        "keys/id_ed25519": key,
        "server.pem": key,
        "public.pem": "-----BEGIN CERTIFICATE-----",
        ".venv/pyvenv.cfg": "home = /usr/bin",
        ".aws/credentials": "x",
        ".env.example": "TOKEN=",
    }.items():
        model.write(name, text)
    said = run(model, "build", "-t", "careful").stderr
    files = {name for name in names_in(model, "careful") if name.startswith("src/")}
    assert files & {"src/.env", "src/.git", "src/keys/id_ed25519", "src/server.pem", "src/.venv", "src/.aws"} == set()
    assert {"src/public.pem", "src/.env.example"} <= files
    for name in (".env", "keys/id_ed25519", "server.pem", ".venv", ".aws"):
        assert f"'{name}' is left out of the image" in said


def test_a_secret_that_is_asked_for_is_in(model):
    model.write(".env", "TOKEN=1")
    model.write(".dockerignore", "!.env\n")
    assert "left out" not in run(model, "build", "-t", "asked").stderr
    assert "src/.env" in names_in(model, "asked")


def test_a_user_that_is_not_root_owns_the_project(model):
    build(model, "-t", "owned", "--user", "1234")
    image = inspect(model, "owned")
    assert image["user"] == "1234:1234"
    members = {member.name: member.uid for member in content(model, image["layers"][-1])}
    assert members["src"] == members["src/predict.py"] == members["home/model"] == 1234
    assert members["home"] == 0


# What cannot be built


def test_a_link_out_of_the_project_is_named(model):
    (model.root / "data").symlink_to("/etc/hostname")
    said = refused(model, "build")
    assert "'data' leads to '/etc/hostname'" in said
    assert ".dockerignore" in said


def test_a_base_that_is_not_there_is_named(model, registry_server):
    assert "base/none:latest' is not there" in refused(model, "build", "--base-image", f"{registry_server.host}/base/none")


def test_a_base_with_another_python_says_which(model):
    model.write("cog.yaml", (model.root / "cog.yaml").read_text().replace("3.11", "3.12"))
    assert "has Python 3.11, but the project asks for 3.12" in refused(model, "build")


def test_a_registry_that_nobody_listens_at_is_named(model):
    said = refused(model, "build", "--base-image", "localhost:9/base/debian")
    assert "the registry 'localhost:9' cannot be used" in said


def test_a_project_that_needs_an_engine_says_why(model):
    model.write("cog.yaml", (model.root / "cog.yaml").read_text().replace("base:", "system_packages: [ffmpeg], base:"))
    assert "since it has 'build.system_packages'" in refused(model, "build", "--engine", "none")


def test_a_package_that_is_not_there_is_named_and_nothing_is_tagged(model, registry_server):
    model.write(
        "cog.yaml", (model.root / "cog.yaml").read_text().replace("base:", "python_packages: [no-such-package-at-all==1], base:")
    )
    name = f"{registry_server.host}/team/half"
    assert "no-such-package-at-all" in refused(model, "push", name)
    assert f"'{name}:latest' is not there" in refused(model, "inspect", name)


def test_a_file_that_does_not_fit_on_the_disk_is_told_before_anything_is_written(model):
    with (model.root / "huge.safetensors").open("wb") as file:
        file.truncate(12 * 1000**4)  # a hole
    said = refused(model, "build")
    assert "the largest file is" in said
    assert "huge.safetensors' with 12.0 TB" in said


# Files


def test_an_oci_layout_is_whole(model, tmp_path):
    digest = build(model, "-t", "laid", "--output", str(tmp_path / "layout"))
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    assert [one["digest"] for one in index["manifests"]] == [digest]
    manifest = json.loads((tmp_path / "layout" / "blobs" / "sha256" / digest[7:]).read_bytes())
    for blob in (manifest["config"], *manifest["layers"]):
        assert (tmp_path / "layout" / "blobs" / "sha256" / blob["digest"][7:]).stat().st_size == blob["size"]


def test_an_archive_for_docker_names_the_image_and_holds_its_layers(model, tmp_path):
    build(model, "-t", "archived:v1", "--output", str(tmp_path / "image.docker.tar"))
    with tarfile.open(tmp_path / "image.docker.tar") as archive:
        (listing,) = json.load(archive.extractfile("manifest.json"))
        assert listing["RepoTags"] == ["archived:v1"]
        config = json.load(archive.extractfile(listing["Config"]))
        assert len(config["rootfs"]["diff_ids"]) == len(listing["Layers"])
        names = set(archive.getnames())
    assert set(listing["Layers"]) <= names


def test_bills_of_materials_name_the_packages(model, tmp_path):
    build(model, "-t", "billed", "--sbom", str(tmp_path / "model.spdx.json"))
    written = json.loads((tmp_path / "model.spdx.json").read_bytes())
    assert written["spdxVersion"] == "SPDX-2.3"
    shown = json.loads(run(model, "inspect", "--sbom", "cyclonedx", "billed").stdout)
    assert {one["name"].lower() for one in shown["components"]} == {one["name"].lower() for one in written["packages"][1:]}
    assert "pydantic" in {one["name"] for one in shown["components"]}


# Registries


def test_push_sends_what_is_not_there_and_says_so(model, registry_server):
    name = f"{registry_server.host}/team/pushed"
    first = run(model, "push", name)
    assert f"Sent {name}:latest" in first.stderr
    model.write("predict.py", PREDICTOR + "# edited\n")
    second = run(model, "push", name)
    assert "3 pieces" not in first.stderr
    assert "2 pieces" in second.stderr  # the layer of the project, and the config
    assert second.stdout.strip() == inspect(model, name, "--remote")["digest"]


def test_a_second_machine_that_has_the_image_brings_only_the_code(model, registry_server, tmp_path):
    name = f"{registry_server.host}/team/second"
    run(model, "push", name)
    other = {"DRIVETRAIN_CACHE_DIR": str(tmp_path / "second")}
    here = dict(model.environ)
    model.environ.update(other)
    run(model, "pull", name)
    model.environ.update(here)
    model.write("predict.py", PREDICTOR + "# edited\n")
    run(model, "push", name)
    model.environ.update(other)
    assert "1 piece," in run(model, "pull", name).stderr


def test_a_pushed_image_is_inspected_where_it_is(model, registry_server, tmp_path):
    name = f"{registry_server.host}/team/remote"
    run(model, "push", name)
    model.environ["DRIVETRAIN_CACHE_DIR"] = str(tmp_path / "nothing-here")
    assert inspect(model, name)["inputs"] == ["text", "times"]
    assert sum(path.stat().st_size for path in (tmp_path / "nothing-here").rglob("*")) < 200_000


def test_a_name_without_a_registry_cannot_be_pushed(model):
    assert "does not say which registry" in refused(model, "push", "mine", status=2)


def test_push_without_building_sends_what_is_there(model, registry_server):
    name = f"{registry_server.host}/team/built"
    assert "there is no image" in refused(model, "push", "--no-build", name)
    digest = build(model, "-t", name)
    assert run(model, "push", "--no-build", name).stdout.strip() == digest


def test_login_tries_credentials_and_keeps_those_that_work(model, guarded_registry_server, tmp_path):
    model.environ["HOME"] = str(tmp_path)
    host = guarded_registry_server.host
    login = ("login", host, "-u", "alice", "--password-stdin")
    assert "refuses these credentials" in run(model, *login, stdin="looking-glass\n", status=1).stderr
    assert not (tmp_path / ".docker").exists()
    assert "drivetrain login" in refused(model, "push", f"{host}/team/guarded")
    run(model, *login, stdin="wonderland\n")
    run(model, "push", f"{host}/team/guarded")


def test_an_installed_drivetrain_builds_the_same_image_as_a_checkout(model, tmp_path):
    root = Path(__file__).parents[2]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copytree(root / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, checkout)
    uv = [Path(sys.executable).parent / "uv", "--quiet"]
    freeze = [*uv, "pip", "freeze", "--exclude-editable", "--python", sys.executable]
    pins = tmp_path / "pins.txt"
    pins.write_text(subprocess.run(freeze, check=True, capture_output=True, text=True).stdout)
    digests = set()
    for name, what in (("installed", [checkout]), ("editable", ["--editable", checkout])):
        python = tmp_path / name / "bin" / "python"
        subprocess.run([*uv, "venv", "--python", sys.executable, tmp_path / name], check=True)
        subprocess.run([*uv, "pip", "install", "--python", python, "--requirements", pins, *what], check=True, timeout=200)
        environ = {
            **model.environment(),
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "DRIVETRAIN_CACHE_DIR": str(tmp_path / f"{name}-cache"),
        }
        command = [python.parent / "drivetrain", "build", "--no-precompile"]
        done = subprocess.run(command, cwd=model.root, env=environ, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
