"""One suite for whatever keeps files. To add an adapter, add it to ``ADAPTERS``."""

import asyncio
import hashlib
import itertools
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from drivetrain.model.errors import OutsideFailed
from drivetrain.platform.files import FileTooLarge, NewFile, Origin, QuotaExceeded, read_reference
from drivetrain.stores.files import open_files
from drivetrain.stores.sqlite.database import Database

pytestmark = pytest.mark.anyio

NEW = NewFile(owner="alice", name="photo.png", content_type="image/png", origin=Origin.UPLOAD, expires_at=None)

#: Larger than any buffer between here and the disk.
LARGE = bytes(range(256)) * 20_000


@dataclass
class Scene:
    """A store with a clock that tests turn, and short ways to use both."""

    files: object
    directory: Path
    now: datetime = datetime(2026, 1, 2, tzinfo=timezone.utc)

    def after(self, seconds):
        return self.now + timedelta(seconds=seconds)

    async def put(self, content=b"content", *, limit=10**9, quota=None, **changes):
        stream = content if hasattr(content, "__aiter__") else pieces(content)
        return await self.files.put(replace(NEW, **changes), stream, now=self.now, limit=limit, quota=quota)

    async def read(self, file, **part):
        async with aclosing(self.files.read(file, **part)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def names(self, **query):
        return [file.name for file in await self.files.find(**{"owner": "alice", **query})]

    def left(self):
        """Files of content on the disk."""
        return [path for path in self.directory.rglob("*") if path.is_file() and not path.name.startswith("records.db")]


@dataclass(frozen=True)
class Adapter:
    """A way to keep files."""

    name: str
    open: Callable[[Path], Awaitable[object]]


def numbered_ids():
    numbers = itertools.count()
    return lambda: f"{next(numbers):026}"


ADAPTERS = [Adapter("local", lambda directory: open_files(directory, numbered_ids()))]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def adapter(request):
    return request.param


@pytest.fixture
async def scene(adapter, tmp_path):
    files = await adapter.open(tmp_path / "files")
    yield Scene(files, tmp_path / "files")
    await files.aclose()


async def pieces(content, size=100_000):
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def broken(error):
    yield LARGE
    yield LARGE
    raise error


# Putting and reading


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "small", "large"])
async def test_a_file_comes_back_as_it_was(scene, content):
    file = await scene.put(content, expires_at=scene.after(5), prediction="p1", metadata={"a": [1]}, origin=Origin.OUTPUT)
    assert file.size == len(content)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.md5 == hashlib.md5(content).hexdigest()
    assert (file.owner, file.name, file.content_type, file.origin) == ("alice", "photo.png", "image/png", Origin.OUTPUT)
    assert (file.created_at, file.expires_at) == (scene.now, scene.after(5))
    assert (file.prediction, file.metadata) == ("p1", {"a": [1]})
    assert await scene.files.get(file.id) == file
    assert await scene.read(file) == content
    assert read_reference(file.reference) == (file.id, file.name)


async def test_an_unknown_file_is_none(scene):
    assert await scene.files.get("nothing") is None
    assert not await scene.files.remove("nothing")
    assert not await scene.files.remove("../../etc/passwd")


@pytest.mark.parametrize(
    "part", [(0, 10), (5, 5), (10, None), (300_000, 700_001), (len(LARGE) - 1, None), (0, 10**12), (10**12, None), (9, 3)]
)
async def test_parts_of_a_file_can_be_read(scene, part):
    file = await scene.put(LARGE)
    assert await scene.read(file, start=part[0], stop=part[1]) == LARGE[slice(*part)]


async def test_a_file_that_is_being_written_is_not_there_yet(scene):
    seen = []

    async def look_meanwhile():
        yield LARGE
        seen.append(await scene.names())
        seen.append(await scene.files.usage("alice"))
        yield LARGE

    await scene.put(look_meanwhile())
    assert seen == [[], 0]
    assert await scene.names() == ["photo.png"]


async def test_files_are_written_at_once_by_many(scene):
    contents = [bytes([number]) * 300_000 for number in range(20)]
    files = await asyncio.gather(*(scene.put(content, name=f"{number}.bin") for number, content in enumerate(contents)))
    assert [await scene.read(file) for file in files] == contents
    assert await scene.files.usage("alice") == 20 * 300_000


# What cannot be put


async def test_a_file_that_is_too_large_is_refused(scene):
    assert await scene.put(b"x" * 100, limit=100)
    with pytest.raises(FileTooLarge):
        await scene.put(b"x" * 101, limit=100)
    with pytest.raises(FileTooLarge):
        await scene.put(LARGE, limit=len(LARGE) - 1)
    assert len(scene.left()) == 1


async def test_an_upload_without_end_is_cut_off(scene):
    async def endless():
        while True:
            yield LARGE

    with pytest.raises(FileTooLarge):
        await scene.put(endless(), limit=3 * len(LARGE))
    with pytest.raises(QuotaExceeded):
        await scene.put(endless(), quota=3 * len(LARGE))
    assert scene.left() == []


async def test_an_owner_takes_no_more_than_the_quota(scene):
    first = await scene.put(b"x" * 60, quota=100)
    await scene.put(b"x" * 40, quota=100)
    with pytest.raises(QuotaExceeded):
        await scene.put(b"x", quota=100)
    await scene.put(b"x", quota=100, owner="bob")
    await scene.files.remove(first.id)
    await scene.put(b"x" * 60, quota=100)
    assert await scene.files.usage("alice") == 100
    assert await scene.files.usage("nobody") == 0


async def test_of_many_at_once_no_more_are_kept_than_the_quota_allows(scene):
    results = await asyncio.gather(*(scene.put(b"x" * 30, quota=100) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, QuotaExceeded) for result in results) == 7
    assert await scene.files.usage("alice") == 90
    assert len(scene.left()) == 3


@pytest.mark.parametrize("error", [OutsideFailed("the client has gone"), ValueError("bug")], ids=["failed", "bug"])
async def test_a_broken_upload_leaves_nothing(scene, error):
    with pytest.raises(type(error)):
        await scene.put(broken(error))
    assert scene.left() == []
    assert await scene.files.usage("alice") == 0
    assert await scene.files.sweep(now=scene.now) == 0


async def test_a_canceled_upload_leaves_nothing(scene):
    waits = asyncio.Event()

    async def stuck():
        yield LARGE
        waits.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(scene.put(stuck()))
    await waits.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert scene.left() == []
    assert await scene.files.sweep(now=scene.now) == 0


async def test_an_upload_may_be_canceled_at_any_moment(scene):
    """Canceled after 0, 1, 2 … turns of the event loop, until it ends before the cancelation."""
    for turns in itertools.count():
        upload = asyncio.create_task(scene.put(b"x" * 10))
        for _ in range(turns):
            await asyncio.sleep(0)
        upload.cancel()
        try:
            await upload
            break
        except asyncio.CancelledError:
            assert (await scene.names(), scene.left()) == ([], [])
    assert turns > 3
    assert await scene.files.usage("alice") == 10
    assert await scene.files.sweep(now=scene.now) == 0


# Listing


async def test_files_are_listed_newest_first_by_owner_and_origin(scene):
    for number, origin in enumerate(Origin):
        await scene.put(name=f"{number}", origin=origin)
        scene.now = scene.after(1)
    await scene.put(name="bobs", owner="bob")
    assert await scene.names() == ["2", "1", "0"]
    assert await scene.names(origin=Origin.INPUT) == ["1"]
    assert await scene.names(owner="bob") == ["bobs"]


async def test_pages_of_files_go_on_where_they_stopped_with_equal_times(scene):
    for number in range(10):
        await scene.put(name=f"{number}")
        scene.now = scene.after(number % 3 == 0)
    names, before = [], None
    while page := await scene.files.find(owner="alice", before=before, limit=3):
        names += [file.name for file in page]
        before = (page[-1].created_at, page[-1].id)
    assert names == [f"{number}" for number in range(9, -1, -1)]


# Removing


async def test_a_removed_file_is_gone(scene):
    file = await scene.put()
    assert await scene.files.remove(file.id)
    assert not await scene.files.remove(file.id)
    assert await scene.files.get(file.id) is None
    assert scene.left() == []
    with pytest.raises(OutsideFailed, match=file.id):
        await scene.read(file)


async def test_a_file_that_is_being_read_can_be_removed(scene):
    file = await scene.put(LARGE)
    async with aclosing(scene.files.read(file)) as chunks:
        first = await anext(chunks)
        await scene.files.remove(file.id)
        assert first + b"".join([chunk async for chunk in chunks]) == LARGE


async def test_expired_files_are_swept(scene):
    for seconds in (5, 6, 7):
        await scene.put(name=f"{seconds}", expires_at=scene.after(seconds))
    await scene.put(name="for ever")
    assert await scene.files.sweep(now=scene.after(4)) == 0
    assert await scene.files.sweep(now=scene.after(6), limit=1) == 1
    assert await scene.files.sweep(now=scene.after(6), limit=1) == 1
    assert await scene.files.sweep(now=scene.after(6), limit=1) == 0
    assert sorted(await scene.names()) == ["7", "for ever"]
    assert len(scene.left()) == 2


async def test_how_long_a_file_is_kept_can_be_changed(scene):
    file = await scene.put(expires_at=scene.after(5))
    assert await scene.files.keep_until(file.id, None) == replace(file, expires_at=None)
    assert await scene.files.sweep(now=scene.after(6)) == 0
    assert await scene.files.get(file.id) == replace(file, expires_at=None)
    await scene.files.keep_until(file.id, scene.after(7))
    assert await scene.files.sweep(now=scene.after(8)) == 1
    assert await scene.files.keep_until(file.id, None) is None


async def test_metadata_may_come_behind_the_content(scene):
    """A form may hold more of it there."""
    metadata = {"before": 1}

    async def content():
        yield b"content"
        metadata["behind"] = 2

    file = await scene.put(content(), metadata=metadata)
    assert (await scene.files.get(file.id)).metadata == {"before": 1, "behind": 2}


async def test_a_sweep_leaves_alone_what_is_being_written(scene):
    async def swept_meanwhile():
        yield LARGE
        yield LARGE
        assert await scene.files.sweep(now=scene.now) == 0
        yield b"end"

    file = await scene.put(swept_meanwhile())
    assert await scene.read(file) == LARGE * 2 + b"end"


async def test_a_sweep_leaves_alone_what_was_kept_while_it_looked(scene, monkeypatch):
    """Records are read in a thread: what they said may be old when the sweep hears of it."""
    fetch, has_looked, may_go_on = Database.fetch, asyncio.Event(), asyncio.Event()

    async def slow_fetch(*arguments):
        rows = await fetch(*arguments)
        has_looked.set()
        await may_go_on.wait()
        return rows

    async def swept_meanwhile():
        yield b"content"
        sweeps.append(asyncio.create_task(scene.files.sweep(now=scene.now)))
        await has_looked.wait()

    sweeps = []
    monkeypatch.setattr(Database, "fetch", slow_fetch)
    file = await scene.put(swept_meanwhile())
    may_go_on.set()
    assert await sweeps[0] == 0
    assert await scene.read(file) == b"content"


# Names and types


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\x.txt", "x.txt"),
        ("a\nb\r\0c\x1b[31m\u202egnp.exe", "abc[31mgnp.exe"),
        ("..", "file"),
        ("", "file"),
        (" . ", "file"),
        ("dir/", "dir"),
        ("\ud800x", "x"),
        ("höhe\u00a0größe.jpg", "höhe größe.jpg"),
    ],
)
async def test_names_are_made_safe(scene, given, name):
    assert (await scene.put(name=given)).name == name


async def test_a_long_name_keeps_its_suffix(scene):
    name = (await scene.put(name="ü" * 1000 + ".tar.gz")).name
    assert name.endswith(".gz")
    assert len(name.encode()) <= 255


@pytest.mark.parametrize("says_nothing", [None, "", "application/octet-stream", "nonsense", "a/b\r\nX-Evil: 1"])
async def test_a_type_that_says_nothing_is_found_in_the_content(scene, says_nothing):
    file = await scene.put(b"\x89PNG\r\n\x1a\n", name="x", content_type=says_nothing)
    assert file.content_type == "image/png"


async def test_a_type_that_is_given_counts(scene):
    file = await scene.put(b"\x89PNG\r\n\x1a\n", content_type="Text/Plain; charset=latin-1")
    assert file.content_type == "text/plain; charset=latin-1"


# Crashes

WRITER = """
import asyncio, os, sys
from datetime import datetime, timezone
from pathlib import Path
from drivetrain.platform.files import NewFile, Origin
from drivetrain.stores.files import open_files

async def content(size):
    for _ in range(size):
        yield b"x" * 300_000

async def work(files, number):
    while True:
        new = NewFile(owner="alice", name="x", content_type=None, origin=Origin.UPLOAD, expires_at=None)
        now = datetime.now(timezone.utc)
        file = await files.put(new, content(number), now=now, limit=10**9, quota=None)
        if number % 2:
            await files.remove(file.id)
            os.write(1, f"removed {file.id}\\n".encode())
        else:
            os.write(1, f"kept {file.id}\\n".encode())

async def main():
    files = await open_files(Path(sys.argv[1]), lambda: os.urandom(13).hex())
    await asyncio.gather(*(work(files, number) for number in range(6)))

asyncio.run(main())
"""


async def test_what_was_told_survives_a_kill_and_nothing_else_is_left(tmp_path):
    told = {"kept": set(), "removed": set()}
    for lines in (1, 20, 40):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, tmp_path / "files", stdout=asyncio.subprocess.PIPE
        )
        said = [await process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += (await process.stdout.read()).splitlines()
        await process.wait()
        for line in said:
            what, file_id = line.decode().split()
            told[what].add(file_id)
    scene = Scene(await open_files(tmp_path / "files", numbered_ids()), tmp_path / "files")
    try:
        await scene.files.sweep(now=scene.now)
        assert await scene.files.sweep(now=scene.now) == 0
        kept = {file.id: file for file in await scene.files.find(owner="alice", limit=10**6)}
        assert told["kept"] <= kept.keys()
        assert not told["removed"] & kept.keys()
        assert {path.name for path in scene.left()} == kept.keys()
        assert await scene.files.usage("alice") == sum(file.size for file in kept.values())
        for file in kept.values():
            assert hashlib.sha256(await scene.read(file)).hexdigest() == file.sha256
    finally:
        await scene.files.aclose()
