"""Images and manifests as values."""

import json

import pytest

from drivetrain.images.descriptor import DOCKER_MANIFEST, LAYER, Descriptor, Platform, descriptor_from, platform_of
from drivetrain.images.errors import Damaged
from drivetrain.images.image import Image, Layer, read_manifest
from drivetrain.model.errors import Misuse

DIGEST = "sha256:" + "a" * 64


def layer(letter="a"):
    digest = "sha256:" + letter * 64
    return Layer(descriptor=Descriptor(media_type=LAYER, digest=digest, size=1), diff_id=digest, made_by=f"layer {letter}")


def test_adding_layers_makes_another_image():
    base = Image(config={"os": "linux", "architecture": "amd64"})
    image = base.with_layers([layer()], created="1980-01-01T00:00:00Z")
    assert base.layers == ()
    assert image.diff_ids == (layer().diff_id,)
    assert image.config["history"] == [{"created": "1980-01-01T00:00:00Z", "created_by": "layer a"}]


def test_the_same_image_has_the_same_bytes_in_whatever_order_it_was_made():
    one = Image(config={"os": "linux", "architecture": "amd64"}, annotations={"a": "1", "b": "2"})
    other = Image(config={"architecture": "amd64", "os": "linux"}, annotations={"b": "2", "a": "1"})
    assert one.manifest_bytes() == other.manifest_bytes()


def test_a_manifest_is_read_as_it_was_written():
    image = Image(config={"os": "linux", "architecture": "arm64"}).with_layers([layer()], created="x")
    manifest = read_manifest(image.manifest_bytes())
    assert manifest.descriptor.digest == image.descriptor.digest
    assert manifest.layers == image.layers
    assert not manifest.is_index


def test_docker_s_media_types_are_taken_for_the_same_bytes():
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": DIGEST, "size": 1},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": DIGEST, "size": 1}],
    }
    assert read_manifest(json.dumps(document).encode()).layers[0].media_type == f"{LAYER}+gzip"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "layers": 1, "config": {}}',
        b'{"schemaVersion": 2, "layers": [{"mediaType": "x", "digest": "../../etc/passwd", "size": 1}], "config": {}}',
        b'{"manifests": [{"digest": "sha256:1", "size": -1, "mediaType": 1}]}',
    ],
)
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(Damaged):
        read_manifest(content)


@pytest.mark.parametrize(
    "document",
    [None, [], {"mediaType": "x", "digest": DIGEST, "size": "1"}, {"mediaType": "x", "digest": "sha256:" + "A" * 64, "size": 1}],
)
def test_what_is_no_descriptor_is_refused(document):
    with pytest.raises(Damaged):
        descriptor_from(document)


@pytest.mark.parametrize("text", ["linux/amd64", "amd64", "x86_64", "LINUX/AMD64"])
def test_a_platform_has_several_names(text):
    assert platform_of(text) == Platform(os="linux", architecture="amd64")


@pytest.mark.parametrize("text", ["windows/amd64", "linux/riscv64", "linux", ""])
def test_platforms_that_nothing_is_built_for_are_refused(text):
    with pytest.raises(Misuse, match="is not a platform"):
        platform_of(text)


def test_a_variant_of_arm64_satisfies_it():
    assert platform_of("arm64").is_satisfied_by(Platform(os="linux", architecture="arm64", variant="v8"))
