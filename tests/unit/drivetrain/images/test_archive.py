"""Layers: the same bytes for the same content, in a stream."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import threading

import pytest
import zstandard

from drivetrain.images.archive import EPOCH_SECONDS, Compression, Entry, Stopped, directory, file, files_below, link, write_layer
from drivetrain.images.descriptor import LAYER
from drivetrain.images.digest import digest_of
from drivetrain.images.store import ImageStore
from drivetrain.model.errors import OutsideFailed


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "store")


def opened(store, layer):
    data = store.read(layer.descriptor.digest)
    if layer.descriptor.media_type.endswith("zstd"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    elif layer.descriptor.media_type.endswith("gzip"):
        data = gzip.decompress(data)
    assert digest_of(data) == layer.diff_id
    return tarfile.open(fileobj=io.BytesIO(data))


@pytest.mark.parametrize("compression", list(Compression))
def test_a_layer_holds_what_it_was_given_and_the_directories_above(store, compression):
    entries = [file("b/run", "#!", executable=True), link("a", "b/run"), directory("c")]
    layer = write_layer(entries, store, compression=compression, made_by="a test")
    assert layer.descriptor.media_type == LAYER + compression.value
    members = {member.name: member for member in opened(store, layer)}
    assert list(members) == ["a", "b", "b/run", "c"]
    assert (members["a"].linkname, members["b/run"].mode, members["b"].mode) == ("b/run", 0o755, 0o755)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members.values()} == {(EPOCH_SECONDS, 0, 0, "")}


@pytest.mark.parametrize("compression", list(Compression))
def test_neither_order_nor_times_nor_owners_nor_masks_change_it(store, tmp_path, compression):
    (tmp_path / "x" / "sub").mkdir(parents=True)
    for name in ("one", "sub/two"):
        (tmp_path / "x" / name).write_text(name * 1000)
    entries = list(files_below(tmp_path / "x", "src"))
    first = write_layer(entries, store, compression=compression, made_by="")
    os.utime(tmp_path / "x" / "one", (5, 5))
    (tmp_path / "x" / "one").chmod(0o600)
    assert write_layer(reversed(entries), store, compression=compression, made_by="") == first


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_the_number_of_cores_does_not_change_it(store, tmp_path, monkeypatch, compression):
    (tmp_path / "data").write_bytes(os.urandom(1024) * 20_000)
    digests = set()
    for cores in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        entries = [Entry(name="data", source=tmp_path / "data")]
        layer = write_layer(entries, store, compression=compression, made_by="")
        digests.add(layer.descriptor.digest)
    assert len(digests) == 1
    assert opened(store, layer).getnames() == ["data"]


def test_long_and_foreign_names_survive(store):
    name = "/".join(["ä" * 60] * 5)
    layer = write_layer([file(name, "x")], store, compression=Compression.GZIP, made_by="")
    assert name in opened(store, layer).getnames()


def test_sockets_are_left_out(tmp_path):
    (tmp_path / "x").mkdir()
    os.mkfifo(tmp_path / "x" / "fifo")
    assert list(files_below(tmp_path / "x", "src")) == []


def test_a_file_that_is_gone_is_named_and_nothing_is_left(store, tmp_path):
    with pytest.raises(OutsideFailed, match="gone' cannot be put into the image"):
        write_layer([Entry(name="gone", source=tmp_path / "gone")], store, compression=Compression.ZSTD, made_by="")
    assert [path.name for path in (store.directory / "ingest").iterdir()] == []
    assert list((store.directory / "blobs" / "sha256").iterdir()) == []


@pytest.mark.parametrize("compression", list(Compression))
def test_a_layer_that_nobody_wants_any_more_leaves_nothing(store, tmp_path, compression):
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Stopped):
        write_layer([file("a", "x" * 9_000_000)], store, compression=compression, made_by="", stopped=stopped)
    assert list((store.directory / "blobs" / "sha256").iterdir()) == []


def test_the_digest_of_what_is_not_compressed_is_that_of_its_content(store):
    layer = write_layer([file("a", "text")], store, compression=Compression.NONE, made_by="")
    assert layer.diff_id == layer.descriptor.digest == digest_of(store.read(layer.descriptor.digest))


MEASURED = """
import sys
from pathlib import Path
from drivetrain.images.archive import Compression, Entry, write_layer
from drivetrain.images.store import ImageStore
write_layer([Entry(name="big", source=Path(sys.argv[1]))], ImageStore(Path(sys.argv[2])), compression=Compression[sys.argv[3]], made_by="")
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("compression", ["NONE", "GZIP", "ZSTD"])
def test_memory_stays_flat(tmp_path, compression):
    with (tmp_path / "big").open("wb") as big:
        big.truncate(300 * 1024 * 1024)
    command = [sys.executable, "-c", MEASURED, tmp_path / "big", tmp_path / "store", compression]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150
