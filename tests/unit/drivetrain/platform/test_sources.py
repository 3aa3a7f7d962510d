"""Uploads are unpacked by their content, and a hostile archive gets nowhere."""

import asyncio
import gzip
import io
import os
import tarfile

import pytest

from drivetrain.platform.app import AppName
from drivetrain.platform.sources import BadArchive, Sources


def archive(*members, mode="w:gz"):
    """A tar archive of (name, content) pairs, or of ready ``TarInfo``s."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path / "sources", tmp_path / "data", archive_bytes=1_000_000)


def receive(sources, packed, chunk=1000):
    async def chunks():
        for start in range(0, len(packed), chunk):
            yield packed[start : start + chunk]

    return asyncio.run(sources.receive(chunks()))


def test_an_upload_is_unpacked(sources):
    source = receive(sources, archive(("cog.yaml", b"predict: predict.py:P\n"), ("weights/a.bin", b"123")))
    assert (source.path / "weights/a.bin").read_bytes() == b"123"
    assert source.path == sources.path(source.digest)


def test_the_same_content_is_the_same_source_however_it_was_packed(sources):
    one = receive(sources, archive(("a", b"1"), ("b", b"2")))
    other = receive(sources, archive(("./b", b"2"), ("./a", b"1"), mode="w"))
    assert one == other


def test_other_content_is_another_source(sources):
    assert receive(sources, archive(("a", b"1"))) != receive(sources, archive(("a", b"2")))


def test_an_empty_directory_is_content(sources):
    empty = tarfile.TarInfo("outputs")
    empty.type = tarfile.DIRTYPE
    source = receive(sources, archive(("a", b"1"), empty))
    assert (source.path / "outputs").is_dir()
    assert source != receive(sources, archive(("a", b"1")))
    above = tarfile.TarInfo("deep")
    above.type = tarfile.DIRTYPE
    assert receive(sources, archive(above, ("deep/a", b"1"))) == receive(sources, archive(("deep/a", b"1")))


def test_links_inside_are_kept(sources):
    source = receive(sources, archive(("model/a", b"1"), link("latest", "model")))
    assert (source.path / "latest/a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"")],
        [("/etc/evil", b"")],
        [("a/../../evil", b"")],
        [link("out", "../..")],
        [link("out", "/etc")],
        [link("a/out", "../../x")],
        [link("inside", "."), ("inside/x", b"")],
        [link("dir", "elsewhere"), ("dir/x", b"")],
        [link("hard", "/etc/passwd", tarfile.LNKTYPE)],
        [link("pipe", "", tarfile.FIFOTYPE)],
        [link("device", "", tarfile.CHRTYPE)],
        [("twice", b"1"), ("twice", b"2")],
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(sources, tmp_path, members):
    with pytest.raises(BadArchive):
        receive(sources, archive(*members))
    assert [path for path in tmp_path.rglob("*") if path.name != "sources"] == []


def test_a_bomb_is_refused(sources):
    with pytest.raises(BadArchive, match="times as large"):
        receive(sources, archive(("zeros", b"\0" * 80_000_000)))


def test_what_is_too_large_is_refused_while_it_comes(sources):
    with pytest.raises(BadArchive, match="larger than 1000000 bytes"):
        receive(sources, archive(("noise", os.urandom(1_100_000))))


@pytest.mark.parametrize("packed", [b"", b"not an archive", archive(("a", b"1" * 5000))[:60]])
def test_what_is_no_archive_is_refused(sources, packed):
    with pytest.raises(BadArchive):
        receive(sources, packed)


def test_a_damaged_archive_is_refused(sources):
    """The damage lies in the middle of a file's content, where one compressed part ends and the next begins."""
    plain = archive(("numbers", "".join(map(str, range(100_000))).encode()), mode="w")
    first, second = gzip.compress(plain[:300_000]), gzip.compress(plain[300_000:])
    wrong_sum, wrong_block = first[:-8] + bytes(4) + first[-4:], second[:10] + b"\xff" + second[11:]
    with pytest.raises(BadArchive, match="CRC"):
        receive(sources, wrong_sum + second, chunk=100_000)
    with pytest.raises(BadArchive, match="invalid block"):
        receive(sources, first + wrong_block, chunk=100_000)


def test_leftovers_of_a_crash_are_swept(sources, tmp_path):
    (tmp_path / "sources/.incoming-x").mkdir(parents=True)
    asyncio.run(sources.sweep(()))
    assert list((tmp_path / "sources").iterdir()) == []


def test_what_is_not_named_is_swept(sources, tmp_path):
    kept, left = receive(sources, archive(("a", b"1"))), receive(sources, archive(("a", b"2")))
    asyncio.run(sources.sweep({kept.digest}))
    assert (kept.path.is_dir(), left.path.exists()) == (True, False)


def test_sweeping_before_the_first_upload_does_nothing(sources):
    asyncio.run(sources.sweep(()))


def test_an_apps_data_stays_until_it_is_removed(sources):
    app = AppName("a", "b")
    (sources.data_directory(app) / "kept").write_text("x")
    assert (sources.data_directory(app) / "kept").exists()
    asyncio.run(sources.remove_data(app))
    asyncio.run(sources.remove_data(app))
    assert list(sources.data_directory(app).iterdir()) == []
