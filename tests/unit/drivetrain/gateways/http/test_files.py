"""Stored files over HTTP."""

import asyncio
import contextlib
import itertools
import types
from datetime import datetime, timezone

import httpx
import pytest

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.files import public_routes, runner_routes
from drivetrain.gateways.http.guard import Guard
from drivetrain.gateways.http.shell import Gateway, Shell
from drivetrain.gateways.native.rendering import render_error
from drivetrain.platform.app import AppName
from drivetrain.platform.files import FileId, NewFile, Origin
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.gate import RunnerGate
from drivetrain.platform.ids import Ids
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.url_signature import UrlSignatures
from drivetrain.stores.files import open_files

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
CLOCK = types.SimpleNamespace(now=lambda: NOW)


class Site:
    """Files behind HTTP."""

    def __init__(self, files, client, addresses, runner):
        self.files, self.client, self.addresses, self.runner = files, client, addresses, runner

    async def put(self, name, content, content_type=None):
        async def chunks():
            yield content

        new = NewFile(owner="a", name=name, content_type=content_type, origin=Origin.UPLOAD, expires_at=None)
        return await self.files.put(new, chunks(), now=NOW, limit=10**9, quota=None)

    async def get(self, stored, **headers):
        url = self.addresses.file_url("http://test", stored.id, stored.name)
        return await self.client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})


@contextlib.asynccontextmanager
async def opened(directory):
    numbers = itertools.count()
    files = await open_files(directory, lambda: FileId(f"{next(numbers):026}"))
    addresses = Addresses(public_url=None, listening_url="http://test", signer=UrlSignatures([b"k" * 32]), now=lambda: NOW)
    gate = RunnerGate("http://test", files, CLOCK, Ids(lambda count: b"a" * count), PlatformOptions())
    runner = gate.open_for(RunnerId("r1"), AppName("a", "b"))
    guard = Guard(None)
    door = types.SimpleNamespace(runner_files=gate.find)
    routes = [*public_routes(guard, addresses, files), *runner_routes(guard, door, files, limit=1000)]
    shell = Shell([Gateway(name="files", prefixes=("/files", "/runners"), routes=routes, render_error=render_error)])
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://test") as client:
            yield Site(files, client, addresses, runner)
    finally:
        await files.aclose()


@pytest.fixture
def run(tmp_path):
    """Runs a coroutine function with a site."""

    def start(use):
        async def whole():
            async with opened(tmp_path / "files") as site:
                await use(site)

        asyncio.run(whole())

    return start


def test_a_file_is_given_to_whoever_has_its_url(run):
    async def use(site):
        stored = await site.put("a b.txt", b"0123456789", "text/plain")
        answer = await site.get(stored)
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["content-length"] == "10"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["x-content-type-options"] == "nosniff"

    run(use)


def test_nobody_gets_it_without_the_signature(run):
    async def use(site):
        stored = await site.put("a.txt", b"x")
        bare = await site.client.get(f"/files/{stored.id}/a.txt")
        assert (bare.status_code, bare.json()["error"]["code"]) == (403, "request_refused")
        url = site.addresses.file_url("http://test", stored.id, stored.name)
        assert (await site.client.get(url.replace("a.txt", "b.txt"))).status_code == 403
        assert (await site.client.get(url[:-1] + ("A" if url[-1] != "A" else "B"))).status_code == 403

    run(use)


def test_a_file_that_is_gone_is_not_there(run):
    async def use(site):
        stored = await site.put("a.txt", b"x")
        await site.files.remove(stored.id)
        assert (await site.get(stored)).status_code == 404

    run(use)


def test_parts_are_given_and_caches_heeded(run):
    async def use(site):
        stored = await site.put("a.bin", bytes(range(100)))
        part = await site.get(stored, range="bytes=10-19")
        assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
        assert part.headers["content-range"] == "bytes 10-19/100"
        assert (await site.get(stored, range="bytes=500-")).status_code == 416
        etag = part.headers["etag"]
        assert (await site.get(stored, if_none_match=etag)).status_code == 304
        assert (await site.get(stored, range="bytes=0-1", if_range=etag)).status_code == 206
        assert (await site.get(stored, range="bytes=0-1", if_range='"old"')).status_code == 200

    run(use)


def test_head_tells_all_but_the_content(run):
    async def use(site):
        stored = await site.put("a.bin", b"x" * 50)
        answer = await site.client.head(site.addresses.file_url("http://test", stored.id, stored.name))
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "50", b"")

    run(use)


@pytest.mark.parametrize(
    ("content_type", "word"),
    [
        ("image/png", "inline"),
        ("video/mp4", "inline"),
        ("text/plain", "inline"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/xhtml+xml", "attachment"),
        ("text/javascript", "attachment"),
    ],
)
def test_what_browsers_would_run_is_only_saved(run, content_type, word):
    async def use(site):
        answer = await site.get(await site.put('a"ä.x', b"<script>", content_type))
        assert answer.headers["content-disposition"].startswith(f"{word}; filename=")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "filename*=UTF-8''" in answer.headers["content-disposition"]

    run(use)


def test_a_runner_leaves_files_and_finds_them_below_its_own_url(run):
    async def use(site):
        put = await site.client.put(
            f"{site.runner.url}/uploads/p1/out%20put.png", content=b"png", headers={"Content-Type": "image/png"}
        )
        assert put.status_code == 201
        location = put.headers["location"]
        assert location.startswith(f"{site.runner.url}/files/")
        assert (await site.client.get(location)).content == b"png"
        assert (await site.client.get(location, headers={"Range": "bytes=1-1"})).content == b"n"
        inward = site.runner.inward({"image": location})
        assert inward["image"].startswith("drivetrain://files/")
        assert inward["image"].endswith("/out put.png")
        assert site.runner.outward(inward) == {"image": location}

    run(use)


def test_a_url_that_is_no_runners_opens_nothing(run):
    async def use(site):
        assert (await site.client.get("/runners/wrong/files/x/y")).status_code == 404
        refused = await site.client.put("/runners/wrong/uploads/p/y", content=b"x")
        assert refused.status_code == 404
        assert "wrong" not in refused.text
        too_large = await site.client.put(f"{site.runner.url}/uploads/p1/a", content=b"x" * 1001)
        assert too_large.status_code == 413

    run(use)
