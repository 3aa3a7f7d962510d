"""The Python of a base, found without running it."""

import io
import tarfile

import pytest

from drivetrain.images.descriptor import LAYER, Descriptor
from drivetrain.images.image import Image
from drivetrain.images.interpreter import BasePython, choose_python, list_pythons, server_python, server_version, told_by
from drivetrain.images.store import ImageStore
from drivetrain.model.errors import OutsideFailed, ProjectError


def base(**variables):
    return Image(config={"config": {"Env": [f"{name}={value}" for name, value in variables.items()]}})


def test_an_official_image_says_its_version():
    told = told_by(base(PATH="/usr/local/bin:/usr/bin", PYTHON_VERSION="3.12.4"), "docker.io/library/python:3.12-slim")
    assert told == BasePython(path="/usr/local/bin/python3.12", version="3.12")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "debian"),
        ({"PATH": "/usr/bin", "PYTHON_VERSION": "3.12.4"}, "x"),
        ({"PATH": "/usr/local/bin", "PYTHON_VERSION": "3.12.4"}, "python:alpine"),
    ],
)
def test_others_are_looked_into(variables, name):
    assert told_by(base(**variables), name) is None


@pytest.mark.parametrize(
    "step", ["RUN /bin/sh -c apk add --no-cache tzdata # buildkit", "ADD alpine-minirootfs-3.22.1-x86_64.tar.gz / # buildkit"]
)
def test_what_stands_on_alpine_is_looked_into_whatever_its_name(step):
    image = base(PATH="/usr/local/bin", PYTHON_VERSION="3.12.4")
    history = [{"created_by": 'CMD ["python3"]'}, {"empty_layer": True}]
    assert told_by(Image(config={**image.config, "history": history}), "registry.example/ml-base:3") is not None
    history.insert(0, {"created_by": step})
    assert told_by(Image(config={**image.config, "history": history}), "registry.example/ml-base:3") is None


def layer(store, *names):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    data = content.getvalue()
    return Descriptor(media_type=f"{LAYER}+gzip", digest=store.put(data), size=len(data))


def test_the_archives_of_the_layers_are_listed(tmp_path):
    store = ImageStore(tmp_path)
    layers = [
        layer(store, "./usr/bin/python3.11", "usr/bin/python3", "usr/lib/python3.9/x"),
        layer(store, "opt/conda/bin/python3.10", "lib/ld-musl-x86_64.so.1"),
    ]
    assert [(one.path, one.version, one.musl) for one in list_pythons(store, layers)] == [
        ("/opt/conda/bin/python3.10", "3.10", True),
        ("/usr/bin/python3.11", "3.11", True),
    ]


def test_a_layer_that_is_no_archive_is_named(tmp_path):
    store = ImageStore(tmp_path)
    with pytest.raises(OutsideFailed, match="a layer of the base cannot be read"):
        list_pythons(store, [Descriptor(media_type=LAYER, digest=store.put(b"x" * 700), size=700)])


def test_the_best_place_and_the_newest_version_are_taken():
    pythons = [
        BasePython(path=path, version=path[-4:])
        for path in ("/usr/bin/python3.13", "/usr/local/bin/python3.11", "/usr/local/bin/python3.12")
    ]
    assert choose_python(pythons, None, "base").path == "/usr/local/bin/python3.12"
    assert choose_python(pythons, "3.13", "base").path == "/usr/bin/python3.13"
    with pytest.raises(ProjectError, match=r"has Python 3.11, 3.12, 3.13, but the project asks for 3.10"):
        choose_python(pythons, "3.10", "base")
    with pytest.raises(ProjectError, match="has no Python"):
        choose_python([], None, "base")


@pytest.mark.parametrize(
    ("model", "server", "path"),
    [("3.8", "3.12", "/opt/python/bin/python3.12"), ("3.9", "3.12", "/opt/python/bin/python3.12"), ("3.10", "3.10", "/usr/bin/x")],
)
def test_the_server_has_an_interpreter_of_its_own_where_the_model_s_is_too_old(model, server, path):
    found = server_python(BasePython(path="/usr/bin/x", version=model))
    assert (found.version, found.path) == (server, path)
    assert server_version(model) == server
