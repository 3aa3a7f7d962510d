"""Names of images."""

import pytest

from drivetrain.images.reference import is_loopback, parse_reference
from drivetrain.model.errors import Misuse

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("model", "docker.io/library/model:latest"),
        ("team/model:v1", "docker.io/team/model:v1"),
        ("index.docker.io/team/model", "docker.io/team/model:latest"),
        ("localhost/model", "localhost/model:latest"),
        ("localhost:5000/team/model", "localhost:5000/team/model:latest"),
        ("r8.im/owner/name", "r8.im/owner/name:latest"),
        ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
        (f"registry.example.com/a/b/c:v@{DIGEST}", f"registry.example.com/a/b/c@{DIGEST}"),
    ],
)
def test_what_docker_leaves_out_is_filled_in(text, whole):
    assert str(parse_reference(text)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Model",
        "a/../b",
        "a//b",
        "host.com/",
        "a:b:c",
        "model@sha256:1",
        "http://host/a",
        "a b",
        "-a",
        "a/" + "b" * 300,
        "a:",
        "host.com/a:ä",
    ],
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(Misuse, match="is not the name of an image"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost:5000", True),
        ("127.1.2.3", True),
        ("[::1]:80", True),
        ("a.localhost", True),
        ("localhost.evil.com", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_is_local(host, local):
    assert is_loopback(host) is local


def test_docker_s_registry_has_its_api_elsewhere():
    assert parse_reference("model").host == "registry-1.docker.io"
