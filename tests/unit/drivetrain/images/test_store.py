"""Images on this machine."""

import errno
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from drivetrain.images.descriptor import LAYER, Descriptor
from drivetrain.images.digest import digest_of
from drivetrain.images.errors import Damaged, ImageNotFound
from drivetrain.images.image import Image
from drivetrain.images.reference import parse_reference
from drivetrain.images.store import ImageStore
from drivetrain.model.errors import OutsideFailed


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "store")


def image(number=0):
    return Image(config={"os": "linux", "architecture": "amd64", "number": number})


def test_it_is_an_oci_layout(store):
    store.tag("name:v1", store.add_image(image()))
    assert json.loads((store.directory / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((store.directory / "index.json").read_bytes())["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "name:v1"}


def test_a_name_comes_to_mean_another_image_and_the_others_stay(store):
    first, second = store.add_image(image(1)), store.add_image(image(2))
    store.tag("docker.io/library/a:latest", first)
    store.tag("b", first)
    store.tag("docker.io/library/a:latest", second)
    assert store.resolve(parse_reference("a")).descriptor.digest == second.digest
    assert store.find("b").digest == first.digest
    assert store.names() == ["b", "docker.io/library/a:latest"]


def _tag(directory, number):
    store = ImageStore(Path(directory))
    store.tag(f"name{number}", store.add_image(image(number)))


def test_processes_that_name_images_at_once_lose_none(store):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_tag, args=(str(store.directory), number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert store.names() == sorted(f"name{number}" for number in range(6))


def test_what_is_not_committed_is_not_there(store):
    with store.writer() as blob:
        blob.write(b"half")
    assert list((store.directory / "ingest").iterdir()) == []
    assert not store.path(digest_of(b"half")).exists()


def test_content_of_the_wrong_length_is_not_there(store):
    digest = store.put(b"content")
    assert store.has(Descriptor(media_type=LAYER, digest=digest, size=7))
    assert not store.has(Descriptor(media_type=LAYER, digest=digest, size=8))


def test_what_arrives_damaged_is_refused_and_removed(store):
    digest = digest_of(b"right")
    partial = store.partial(digest)
    partial.write_bytes(b"wrong")
    with pytest.raises(Damaged, match="arrived damaged"):
        store.adopt(partial, Descriptor(media_type=LAYER, digest=digest, size=5))
    assert not partial.exists()


def test_content_is_gathered_by_one_process_at_a_time(store):
    class BusyError(Exception):
        pass

    def waiting():
        raise BusyError

    descriptor = Descriptor(media_type=LAYER, digest=digest_of(b"whole"), size=5)
    with store.gathering(descriptor, waiting) as partial:
        with pytest.raises(BusyError), store.gathering(descriptor, waiting):
            pass
        partial.write_bytes(b"whole")
        store.adopt(partial, descriptor)
    with store.gathering(descriptor, waiting) as partial:
        assert partial is None
    assert list(store.directory.glob("ingest/*.partial")) == []


def test_what_is_not_there_is_named(store):
    with pytest.raises(ImageNotFound, match="there is no content"):
        store.read(digest_of(b"none"))


def test_a_full_disk_is_told_as_one(store, monkeypatch):
    class Full:
        name = "x"

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    from drivetrain.images.store import BlobWriter

    with pytest.raises(OutsideFailed, match="the disk is full"):
        BlobWriter(Full(), store).write(b"x")


def test_what_killed_processes_left_is_removed_when_it_is_old(store):
    store.put(b"content")
    for name in ("staging/old/x", "staging/new/x", "ingest/tmp-old", "ingest/tmp-new", "ingest/old.partial"):
        path = store.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("staging/old", "ingest/tmp-old", "ingest/old.partial"):
        os.utime(store.directory / name, (time.time() - 3 * 24 * 3600,) * 2)
    store.tidy()
    left = {
        path.relative_to(store.directory).as_posix()
        for place in ("staging", "ingest")
        for path in (store.directory / place).iterdir()
    }
    assert left - {"ingest/lock"} == {"staging/new", "ingest/tmp-new", "ingest/old.partial"}


# What is used no more


MONTHS_AGO = time.time() - 60 * 24 * 3600


def age(store, *digests):
    for digest in digests:
        os.utime(store.path(digest), (MONTHS_AGO, MONTHS_AGO))


def blob(store, content):
    return Descriptor(media_type=LAYER, digest=store.put(content), size=len(content))


def test_what_no_name_leads_to_is_removed_when_nobody_has_used_it_for_long(store):
    old, new = blob(store, b"old"), blob(store, b"new")
    age(store, old.digest)
    store.tidy()
    assert (store.has(old), store.has(new)) == (False, True)


def test_all_that_a_name_leads_to_stays(store):
    layer = blob(store, b"layer")
    whole = Image(config={"os": "linux", "architecture": "amd64"}, layers=(layer,))
    index = store.add_index([store.add_image(whole)])
    store.tag("mine", index)
    parts = [layer.digest, whole.config_descriptor.digest, whole.descriptor.digest, index.digest]
    age(store, *parts)
    store.tidy()
    assert all(store.path(digest).exists() for digest in parts)


def test_what_a_name_meant_before_goes(store):
    before = store.add_image(image(1))
    store.tag("mine", before)
    store.tag("mine", store.add_image(image(2)))
    age(store, before.digest)
    store.tidy()
    assert not store.path(before.digest).exists()


def test_what_is_asked_for_stays_for_some_more_weeks(store):
    layer = blob(store, b"layer")
    age(store, layer.digest)
    assert store.has(layer)
    store.tidy()
    assert store.has(layer)


def test_it_is_looked_for_once_a_day(store):
    store.put(b"something")
    store.tidy()
    layer = blob(store, b"layer")
    age(store, layer.digest)
    store.tidy()
    assert store.path(layer.digest).exists()
    os.utime(store.directory / "notes" / "swept", (MONTHS_AGO, MONTHS_AGO))
    store.tidy()
    assert not store.path(layer.digest).exists()


def test_a_store_that_there_is_not_yet_needs_no_tidying(store):
    store.tidy()
    assert not store.directory.exists()
