"""Unpacked images: each layer once, whole or not at all."""

import fcntl
import gzip
import io
import json
import multiprocessing
import os
import sys
import tarfile
import time

import pytest

from drivetrain.images.descriptor import LAYER, Descriptor
from drivetrain.images.digest import digest_of
from drivetrain.images.errors import Damaged
from drivetrain.images.image import Image, Layer
from drivetrain.images.store import ImageStore
from drivetrain.images.unpacked import UnpackedLayers

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="images are unpacked on Linux")

PROCESSES = multiprocessing.get_context("fork")


def layer_of(store, **files):
    """A layer in the store; a file without content takes that of a layer below away."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        for name, text in files.items():
            *parents, last = name.split("__")
            info = tarfile.TarInfo("/".join((*parents, last if text is not None else f".wh.{last}")))
            info.size = len(text or "")
            made.addfile(info, io.BytesIO((text or "").encode()))
    packed = gzip.compress(archive.getvalue())
    descriptor = Descriptor(media_type=f"{LAYER}+gzip", digest=store.put(packed), size=len(packed))
    return Layer(descriptor=descriptor, diff_id=digest_of(archive.getvalue()), made_by="a test")


def image_of(*layers):
    return Image(config={}).with_layers(layers, created="1980-01-01T00:00:00Z")


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images")


@pytest.fixture
def unpacked(tmp_path, store):
    return UnpackedLayers(tmp_path / "unpacked", store)


def unpack(unpacked, image):
    """Unpack; the image, and which layers had to be."""
    told = []
    return unpacked.unpack(image, told.append), told


def test_images_that_begin_alike_share_their_layers(store, unpacked):
    base, one, other = layer_of(store, base="1"), layer_of(store, code="1"), layer_of(store, code="2")
    first, told = unpack(unpacked, image_of(base, one))
    assert told == [base.descriptor, one.descriptor]
    second, told = unpack(unpacked, image_of(base, other))
    assert told == [other.descriptor]
    assert first.layers[0] == second.layers[0]
    assert unpacked.has(image_of(base, one))
    assert not unpacked.has(image_of(one))


def test_the_same_layer_on_others_is_another(store, unpacked):
    base, one = layer_of(store, base="1"), layer_of(store, code="1")
    assert unpack(unpacked, image_of(base, one))[0].layers[1] != unpack(unpacked, image_of(one))[0].layers[0]


def test_files_are_read_as_the_highest_layer_has_them(store, unpacked):
    layers = [layer_of(store, etc__a="1", etc__b="1", etc__c="1"), layer_of(store, etc__a="2", etc__b=None), layer_of(store, x="3")]
    image, _ = unpack(unpacked, image_of(*layers))
    assert [image.read(f"etc/{name}") for name in "abc"] == ["2", None, "1"]
    assert image.read("nothing/here") is None


def test_only_its_owner_looks_into_it(store, unpacked):
    unpack(unpacked, image_of(layer_of(store, a="1")))
    assert unpacked.directory.stat().st_mode & 0o777 == 0o700


def test_a_config_with_other_layers_is_damaged(store, unpacked):
    layer = layer_of(store, a="1")
    for diff_ids in ([], ["../../etc"], [layer.diff_id] * 2):
        image = Image(config={"rootfs": {"diff_ids": diff_ids}}, layers=(layer.descriptor,))
        with pytest.raises(Damaged, match="not the same layers"):
            unpack(unpacked, image)


def test_a_failure_leaves_nothing_and_the_next_attempt_works(store, unpacked):
    good, bad = layer_of(store, a="1"), layer_of(store, b="1")
    path = store.path(bad.descriptor.digest)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(Damaged):
        unpack(unpacked, image_of(good, bad))
    assert not unpacked.has(image_of(good, bad))
    assert not [path for path in (unpacked.directory / "ingest").iterdir() if path.suffix != ".lock"]
    path.write_bytes(content)
    assert unpack(unpacked, image_of(good, bad))[1] == [bad.descriptor]


def unpack_until_killed(directory, store_directory, image):
    """Be killed in the middle of a layer."""
    import drivetrain.images.unpacked as module

    def killed(blob, layer, diff_id, tree, below, *, spare_bytes):
        (tree / "half").write_text("x")
        os.kill(os.getpid(), 9)

    module.unpack_layer = killed
    UnpackedLayers(directory, ImageStore(store_directory)).unpack(image, lambda layer: None)


def test_what_a_killed_process_left_is_not_taken_for_a_layer(store, unpacked):
    layer, other = layer_of(store, whole="1"), layer_of(store, other="1")
    process = PROCESSES.Process(target=unpack_until_killed, args=(unpacked.directory, store.directory, image_of(layer)))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert list((unpacked.directory / "ingest").glob("*/tree/half"))
    assert not unpacked.has(image_of(layer))
    unpack(unpacked, image_of(other))  # any other sees to it
    assert not list((unpacked.directory / "ingest").glob("*/tree"))
    image, _ = unpack(unpacked, image_of(layer))
    assert os.listdir(unpacked.directory / "layers" / image.layers[0]) == ["whole"]


def unpack_here(directory, store_directory, image):
    UnpackedLayers(directory, ImageStore(store_directory)).unpack(image, lambda layer: None)


def test_two_processes_unpack_the_same_image_at_once(store, unpacked):
    image = image_of(*(layer_of(store, **{f"file{number}__x": "x" * 300_000}) for number in range(5)))
    processes = [PROCESSES.Process(target=unpack_here, args=(unpacked.directory, store.directory, image)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert unpack(unpacked, image)[1] == []


def test_what_another_process_is_at_is_left_to_it(store, unpacked):
    unpack(unpacked, image_of(layer_of(store, a="1")))
    (unpacked.directory / "ingest" / "theirs" / "tree").mkdir(parents=True)
    with (unpacked.directory / "ingest" / "theirs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unpack(unpacked, image_of(layer_of(store, b="1")))
        assert (unpacked.directory / "ingest" / "theirs" / "tree").exists()


def test_a_layer_notes_what_it_takes_away(store, unpacked):
    image, _ = unpack(unpacked, image_of(layer_of(store, a="1"), layer_of(store, a=None)))
    notes = json.loads((unpacked.directory / "layers" / f"{image.layers[1]}.json").read_text())
    assert notes["gone"] == ["a"]
    assert image.is_marked == notes["is_marked"]


# What is used no more


MONTHS_AGO = time.time() - 60 * 24 * 3600


def age(unpacked, *marks):
    """Let all layers have been asked for months ago; when it was last looked for that, too."""
    for path in (*(unpacked.directory / "layers").glob("*.json"), *marks):
        os.utime(path, (MONTHS_AGO, MONTHS_AGO))


def test_layers_that_nobody_has_asked_for_in_weeks_are_removed(store, unpacked):
    base, one, other = layer_of(store, base="1"), layer_of(store, code="1"), layer_of(store, code="2")
    for top in (one, other):
        unpack(unpacked, image_of(base, top))
    age(unpacked)
    image, _ = unpack(unpacked, image_of(base, one))
    unpacked.tidy()
    assert sorted(os.listdir(unpacked.directory / "layers")) == sorted(
        name for layer in image.layers for name in (layer, f"{layer}.json")
    )
    assert not unpacked.has(image_of(base, other))
    assert unpack(unpacked, image_of(base, other))[1] == [other.descriptor]


def test_what_is_asked_for_stays_for_some_more_weeks(store, unpacked):
    image = image_of(layer_of(store, a="1"))
    unpack(unpacked, image)
    age(unpacked)
    assert unpacked.has(image)
    unpacked.tidy()
    assert unpacked.has(image)


def test_what_runs_stays_however_long(store, unpacked):
    image, _ = unpack(unpacked, image_of(layer_of(store, a="1")))
    age(unpacked)
    with (unpacked.directory / "layers" / f"{image.layers[0]}.json").open() as note:
        fcntl.flock(note, fcntl.LOCK_SH)
        unpacked.tidy()
        assert image.read("a") == "1"
    age(unpacked, unpacked.directory / "swept")
    unpacked.tidy()
    assert os.listdir(unpacked.directory / "layers") == []


def test_it_is_looked_for_once_a_day(store, unpacked):
    unpacked.tidy()
    assert not unpacked.directory.exists()
    image = image_of(layer_of(store, a="1"))
    unpack(unpacked, image)
    unpacked.tidy()
    age(unpacked)
    unpacked.tidy()
    assert unpacked.has(image)
