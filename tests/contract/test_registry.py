"""Our client against Debian's registry, straight and through a proxy that cuts, refuses, damages and wants tokens."""

import base64
import errno
import itertools
import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from drivetrain.images.archive import Compression, file, write_layer
from drivetrain.images.descriptor import Platform, platform_of
from drivetrain.images.errors import AccessDenied, Damaged, ImageNotFound
from drivetrain.images.image import BASE_NAME, Image, read_manifest
from drivetrain.images.reference import parse_reference
from drivetrain.images.registry.client import RegistryOptions
from drivetrain.images.registry.credentials import Credentials, CredentialStore
from drivetrain.images.registry.retry import RetryPolicy
from drivetrain.images.store import ImageStore
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import Misuse, OutsideFailed

AMD64, ARM64 = platform_of("linux/amd64"), platform_of("linux/arm64")
PIECE = 1024 * 1024
_names = itertools.count()


class Waits:
    """Stands in for sleeping, and notes for how long."""

    def __init__(self):
        self.seconds = []

    def __call__(self, seconds):
        self.seconds.append(seconds)


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def machine(tmp_path, waits):
    """Make a machine: a store of images and a user's home."""

    def make(name="machine", **options):
        home = tmp_path / name
        (home / ".docker").mkdir(parents=True, exist_ok=True)
        chosen = {"chunk_bytes": PIECE, "monolithic_bytes": PIECE, "retry": RetryPolicy(sleep=waits, random=lambda: 1.0), **options}
        credentials = CredentialStore({"HOME": str(home), "PATH": os.environ["PATH"]})
        return Transfers(store=ImageStore(home / "images"), credentials=credentials, options=RegistryOptions(**chosen))

    return make


def build(transfers, *contents, platform=AMD64, tag=None, **annotations):
    """An image with a layer for each content."""
    layers = [
        write_layer([file(f"file{number}", content)], transfers.store, compression=Compression.NONE, made_by="a test")
        for number, content in enumerate(contents)
    ]
    image = Image(config=platform.to_json()).with_layers(layers, created="1980-01-01T00:00:00Z").with_annotations(annotations)
    descriptor = transfers.store.add_image(image)
    if tag:
        transfers.store.tag(tag, descriptor)
    return transfers.store.manifest(descriptor.digest)


def name_in(host, repository=None):
    return parse_reference(f"{host}/{repository or f'team/model-{next(_names)}'}:v1")


def assert_same(transfers, pulled, manifest):
    assert pulled.descriptor.digest == manifest.descriptor.digest
    for blob in manifest.blobs:
        assert transfers.store.has(blob)


def test_an_image_comes_back_as_it_was(machine, registry_server):
    here, there, reference = machine("a"), machine("b"), name_in(registry_server.host)
    manifest = build(here, os.urandom(3 * PIECE + 5), b"small")
    moved = here.push(manifest, reference)
    assert (moved.pieces, moved.there) == (3, 0)
    assert_same(there, there.pull(reference, AMD64), manifest)


def test_pushing_again_sends_nothing(machine, registry_server):
    here, reference = machine(), name_in(registry_server.host)
    manifest = build(here, b"some content of its own for this test")
    here.push(manifest, reference)
    assert here.push(manifest, reference).pieces == 0


def test_pulling_again_receives_nothing(machine, registry_server):
    here, reference = machine(), name_in(registry_server.host)
    here.push(build(here, b"one"), reference)
    assert here.pull(reference, AMD64).pieces == 0


def test_a_layer_of_another_repository_is_mounted_and_not_sent(machine, registry_server):
    here, base, other = machine("a"), name_in(registry_server.host), name_in(registry_server.host)
    content = os.urandom(PIECE)
    here.push(build(here, content), base)
    moved = here.push(build(here, content, b"more", **{BASE_NAME: str(base)}), other)
    assert moved.size < PIECE


def test_a_layer_of_the_base_that_is_not_here_is_mounted(machine, registry_server):
    here, builder, base = machine("a"), machine("b"), name_in(registry_server.host)
    content = os.urandom(PIECE)
    here.push(build(here, content), base)
    manifest = build(builder, content, b"own", **{BASE_NAME: str(base)})
    builder.store.path(manifest.layers[0].digest).unlink()
    builder.push(manifest, name_in(registry_server.host))
    assert not builder.store.has(manifest.layers[0])


def test_a_layer_of_the_base_in_another_registry_is_brought_here_and_sent(machine, registry_server, guarded_registry_server):
    here, base = machine("a"), name_in(registry_server.host)
    content = os.urandom(PIECE)
    here.push(build(here, content), base)
    manifest = build(here, content, b"own", **{BASE_NAME: str(base)})
    here.store.path(manifest.layers[0].digest).unlink()
    here.credentials.keep(guarded_registry_server.host, Credentials(username="alice", password="wonderland"))
    target = name_in(guarded_registry_server.host)
    here.push(manifest, target)
    assert_same(here, here.pull(target, AMD64), manifest)


def test_an_index_holds_an_image_for_each_platform(machine, registry_server):
    here, there, reference = machine("a"), machine("b"), name_in(registry_server.host)
    images = [build(here, b"for amd64"), build(here, b"for arm64", platform=ARM64)]
    descriptors = [here.store.image(one).descriptor for one in images]
    index = here.store.manifest(here.store.add_index(descriptors).digest)
    here.push(index, reference)
    assert there.pull(reference, None).descriptor.digest == index.descriptor.digest
    with there.registry(reference) as registry:
        assert there.fetch_manifest(reference, registry, ARM64).descriptor.digest == images[1].descriptor.digest


def test_a_platform_that_is_not_there_is_an_error_that_names_those_that_are(machine, registry_server):
    here, reference = machine(), name_in(registry_server.host)
    descriptor = here.store.image(build(here, b"for amd64")).descriptor
    here.push(here.store.manifest(here.store.add_index([descriptor]).digest), reference)
    with pytest.raises(ImageNotFound, match="no image for linux/s390x") as caught:
        machine("b").pull(reference, Platform(os="linux", architecture="s390x"))
    assert "linux/amd64" in caught.value.hint


def test_an_image_that_is_not_there_is_named(machine, registry_server):
    with pytest.raises(ImageNotFound, match="nobody/nothing:v1"):
        machine().pull(name_in(registry_server.host, "nobody/nothing"), AMD64)


def test_nobody_can_push_to_a_digest(machine, registry_server):
    here = machine()
    manifest = build(here, b"one")
    with pytest.raises(Misuse, match="cannot be pushed to"):
        here.push(manifest, name_in(registry_server.host).with_digest(manifest.descriptor.digest))


# Faults


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_registry_that_fails_for_a_while_is_asked_again(machine, faulty, waits, status):
    here, reference = machine(), name_in(faulty.host)
    faulty.fault("POST", "/blobs/uploads/", status=status)
    faulty.fault("PUT", "/manifests/", status=status, times=2)
    manifest = build(here, os.urandom(99))
    here.push(manifest, reference)
    assert_same(here, here.pull(reference, AMD64), manifest)
    assert len(waits.seconds) == 3


def test_retry_after_is_obeyed(machine, faulty, waits):
    here, reference = machine(), name_in(faulty.host)
    faulty.fault("PUT", "/manifests/", status=429, headers={"Retry-After": "17"})
    here.push(build(here, b"one"), reference)
    assert waits.seconds == [17.0]


def test_a_registry_that_wants_to_be_left_alone_for_long_is_told_of(machine, faulty):
    faulty.fault("GET", "/manifests/", status=429, headers={"Retry-After": "3600"}, times=9)
    with pytest.raises(OutsideFailed, match="left alone for 3600 s"):
        machine().pull(name_in(faulty.host), AMD64)


def test_a_registry_that_goes_on_to_fail_is_given_up_with_growing_waits(machine, faulty, waits):
    faulty.fault("GET", "/manifests/", status=503, times=99)
    with pytest.raises(OutsideFailed, match=r"answered 503 \(6 attempts"):
        machine().pull(name_in(faulty.host), AMD64)
    assert waits.seconds == [0.5, 1, 2, 4, 8]


def test_a_cut_upload_goes_on_where_it_was_cut(machine, faulty):
    here, reference = machine(), name_in(faulty.host)
    manifest = build(here, os.urandom(4 * PIECE))
    faulty.fault("PATCH", "/blobs/uploads/", cut_request_after=PIECE // 2, skip=1)
    here.push(manifest, reference)
    assert faulty.count("POST", "/blobs/uploads/") == 2  # of the layer and of the config: none had to begin anew
    assert_same(machine("b"), machine("b").pull(reference, AMD64), manifest)


def test_a_cut_upload_begins_anew_where_the_registry_has_lost_it(machine, faulty):
    faulty.knows_cut_uploads = False
    here, reference = machine(), name_in(faulty.host)
    manifest = build(here, os.urandom(4 * PIECE))
    faulty.fault("PATCH", "/blobs/uploads/", cut_request_after=PIECE // 2, skip=1)
    here.push(manifest, reference)
    assert faulty.count("POST", "/blobs/uploads/") == 3
    assert_same(machine("b"), machine("b").pull(reference, AMD64), manifest)


def test_an_upload_that_another_process_began_goes_on(machine, faulty):
    reference = name_in(faulty.host)
    first = machine("a", retry=RetryPolicy(attempts=1))
    manifest = build(first, os.urandom(4 * PIECE))
    faulty.fault("PATCH", "/blobs/uploads/", cut_request_after=PIECE // 2, skip=1)
    with pytest.raises(OutsideFailed):
        first.push(manifest, reference)
    begun = faulty.count("POST", "/blobs/uploads/")
    sent = []
    again = machine("a")
    again.watcher.moved = lambda blob, size: sent.append(size) if blob == manifest.layers[0] else None
    again.push(manifest, reference)
    assert sum(sent) < manifest.layers[0].size  # the rest had arrived before
    assert faulty.count("POST", "/blobs/uploads/") - begun <= 1  # the config's
    assert_same(machine("b"), machine("b").pull(reference, AMD64), manifest)


def test_an_upload_that_the_registry_forgot_begins_anew(machine, faulty):
    here, reference = machine(), name_in(faulty.host)
    manifest = build(here, os.urandom(3 * PIECE))
    faulty.fault("PATCH", "/blobs/uploads/", status=500)
    faulty.fault("GET", "/blobs/uploads/", status=404)
    here.push(manifest, reference)
    assert_same(machine("b"), machine("b").pull(reference, AMD64), manifest)


def test_a_registry_that_takes_no_pieces_gets_content_in_one(machine, faulty):
    here, reference = machine(), name_in(faulty.host)
    manifest = build(here, os.urandom(3 * PIECE))
    faulty.fault("PATCH", "/blobs/uploads/", status=416, times=99)
    here.push(manifest, reference)
    assert_same(machine("b"), machine("b").pull(reference, AMD64), manifest)


def test_nothing_is_named_before_all_is_there(machine, faulty):
    here, reference = machine(retry=RetryPolicy(attempts=1)), name_in(faulty.host)
    faulty.fault("PUT", "/blobs/uploads/", status=507, times=9)
    with pytest.raises(OutsideFailed, match="answered 507"):
        here.push(build(here, b"one", b"two"), reference)
    assert faulty.count("PUT", "/manifests/") == 0


def test_a_cut_download_goes_on_where_it_was_cut(machine, faulty):
    here, there, reference = machine("a"), machine("b"), name_in(faulty.host)
    manifest = build(here, os.urandom(3 * PIECE))
    here.push(manifest, reference)
    faulty.fault("GET", manifest.layers[0].digest, cut_answer_after=PIECE)
    received = []
    there.watcher.moved = lambda blob, size: received.append(size)
    assert_same(there, there.pull(reference, AMD64), manifest)
    assert sum(received) == sum(blob.size for blob in manifest.blobs)


def test_a_download_that_another_process_began_goes_on(machine, faulty):
    here, reference = machine("a"), name_in(faulty.host)
    manifest = build(here, os.urandom(3 * PIECE))
    here.push(manifest, reference)
    faulty.fault("GET", manifest.layers[0].digest, cut_answer_after=2 * PIECE)
    with pytest.raises(OutsideFailed):
        machine("b", retry=RetryPolicy(attempts=1)).pull(reference, AMD64)
    received = []
    again = machine("b")
    again.watcher.moved = lambda blob, size: received.append(size)
    again.pull(reference, AMD64)
    assert sum(received) < 2 * PIECE


def test_who_wants_what_another_is_bringing_waits_for_it(machine, registry_server):
    here, first, second, reference = machine("a"), machine("b"), machine("b"), name_in(registry_server.host)
    manifest = build(here, os.urandom(3 * PIECE))
    here.push(manifest, reference)
    wanted, received = threading.Event(), []
    first.watcher.moved = lambda blob, size: wanted.wait(30) if blob == manifest.layers[0] else None
    second.watcher.begins = lambda blob, what: wanted.set() if blob == manifest.layers[0] else None
    second.watcher.moved = lambda blob, size: received.append(blob)
    with ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(first.pull, reference, AMD64)
        while not list(first.store.directory.glob(f"ingest/{manifest.layers[0].digest.removeprefix('sha256:')}*")):
            assert not pulled.done()
        assert_same(second, second.pull(reference, AMD64), manifest)
        assert_same(first, pulled.result(30), manifest)
    assert manifest.layers[0] not in received


def test_a_disk_that_is_full_is_told_of(machine, registry_server):
    here, there, reference = machine("a"), machine("b"), name_in(registry_server.host)
    manifest = build(here, os.urandom(PIECE))
    here.push(manifest, reference)

    def moved(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    there.watcher.moved = moved
    with pytest.raises(OutsideFailed, match="the disk is full"):
        there.pull(reference, AMD64)


def test_damaged_content_is_refused_and_not_kept(machine, faulty):
    here, there, reference = machine("a"), machine("b"), name_in(faulty.host)
    manifest = build(here, os.urandom(PIECE))
    here.push(manifest, reference)
    faulty.fault("GET", manifest.layers[0].digest, damage=True)
    with pytest.raises(Damaged, match="arrived damaged"):
        there.pull(reference, AMD64)
    assert there.store.find(str(reference)) is None
    assert_same(there, there.pull(reference, AMD64), manifest)


def test_a_damaged_manifest_is_refused(machine, faulty):
    here, reference = machine("a"), name_in(faulty.host)
    manifest = build(here, b"one")
    here.push(manifest, reference)
    faulty.fault("GET", "/manifests/", damage=True)
    with pytest.raises(Damaged, match="arrived damaged"):
        machine("b").pull(reference.with_digest(manifest.descriptor.digest), AMD64)


def test_nobody_listening_is_said_at_once(machine):
    with pytest.raises(OutsideFailed, match=r"localhost:9.*cannot be used"):
        machine(retry=RetryPolicy(attempts=1)).pull(parse_reference("localhost:9/team/model"), AMD64)


# Users


def test_without_credentials_a_guarded_registry_says_how_to_log_in(machine, guarded_registry_server):
    with pytest.raises(AccessDenied) as caught:
        machine().pull(name_in(guarded_registry_server.host), AMD64)
    assert caught.value.hint == f"drivetrain login {guarded_registry_server.host}"


def test_a_wrong_password_is_refused(machine, guarded_registry_server):
    here = machine()
    here.credentials.keep(guarded_registry_server.host, Credentials(username="alice", password="looking-glass"))
    with pytest.raises(AccessDenied):
        here.push(build(here, b"one"), name_in(guarded_registry_server.host))


def test_docker_s_own_file_lets_us_in_by_name_and_password(machine, guarded_registry_server):
    here = machine()
    encoded = base64.b64encode(b"alice:wonderland").decode()
    here.credentials.file.write_text(json.dumps({"auths": {guarded_registry_server.host: {"auth": encoded}}}))
    manifest = build(here, b"one")
    here.push(manifest, name_in(guarded_registry_server.host))


def test_credentials_are_kept_for_this_user_alone_beside_what_was_there(machine, guarded_registry_server):
    here = machine()
    here.credentials.file.write_text(json.dumps({"auths": {"other": {"auth": "x"}}, "currentContext": "mine"}))
    here.credentials.keep(guarded_registry_server.host, Credentials(username="alice", password="wonderland"))
    kept = json.loads(here.credentials.file.read_text())
    assert (kept["auths"]["other"], kept["currentContext"]) == ({"auth": "x"}, "mine")
    assert stat.S_IMODE(here.credentials.file.stat().st_mode) == 0o600


def test_a_credential_helper_is_asked_and_told(machine, guarded_registry_server, tmp_path):
    helper = tmp_path / "bin" / "docker-credential-notes"
    helper.parent.mkdir()
    notes = tmp_path / "notes.json"
    helper.write_text(
        f"#!/bin/sh\ncase $1 in store) cat >{notes};; get) cat {notes} 2>/dev/null || "
        "{ echo credentials not found in native keychain; exit 1; };; esac\n"
    )
    helper.chmod(0o755)
    here = machine()
    here.credentials.file.write_text('{"credsStore": "notes"}')
    credentials = CredentialStore({"HOME": str(here.credentials.file.parents[1]), "PATH": f"{helper.parent}:/usr/bin:/bin"})
    assert credentials.find(guarded_registry_server.host) is None
    assert "'notes'" in credentials.keep(guarded_registry_server.host, Credentials(username="alice", password="wonderland"))
    assert json.loads(notes.read_text())["Secret"] == "wonderland"
    assert "wonderland" not in here.credentials.file.read_text()
    assert credentials.find(guarded_registry_server.host).password == "wonderland"


def test_a_helper_that_is_not_there_is_named(machine, registry_server):
    here = machine()
    here.credentials.file.write_text('{"credsStore": "gone"}')
    with pytest.raises(OutsideFailed, match="no 'docker-credential-gone'"):
        here.pull(name_in(registry_server.host), AMD64)


def test_a_token_is_fetched_for_what_is_needed_and_used_again(machine, faulty):
    faulty.password = "wonderland"
    here, reference = machine(connections=1), name_in(faulty.host)
    here.credentials.keep(faulty.host, Credentials(username="alice", password="wonderland"))
    manifest = build(here, b"one", b"two")
    here.push(manifest, reference)
    assert len(faulty.token_requests) <= 2
    assert_same(here, here.pull(reference, AMD64), manifest)


def test_a_token_that_expires_in_the_middle_is_renewed(machine, faulty):
    faulty.password, faulty.tokens_expire_after = "wonderland", 4
    here, reference = machine(connections=1), name_in(faulty.host)
    here.credentials.keep(faulty.host, Credentials(username="alice", password="wonderland"))
    here.push(build(here, os.urandom(3 * PIECE), b"two"), reference)
    assert len(faulty.token_requests) > 2


def test_a_token_service_that_refuses_the_user_is_told_of(machine, faulty):
    faulty.password = "wonderland"
    here = machine()
    here.credentials.keep(faulty.host, Credentials(username="alice", password="wrong"))
    with pytest.raises(AccessDenied, match="refuses the user 'alice'"):
        here.pull(name_in(faulty.host), AMD64)


def test_whom_the_registry_leads_to_is_told_nothing_of_the_user(machine, faulty, stranger):
    here, reference = machine(), name_in(faulty.host)
    here.credentials.keep(faulty.host, Credentials(username="alice", password="wonderland"))
    place = f"http://{stranger.host}/v2/{reference.repository}/manifests/v1"
    faulty.fault("GET", "/manifests/", status=307, headers={"Location": place})
    with pytest.raises(AccessDenied):
        here.pull(reference, AMD64)
    assert stranger.count("GET", "/manifests/") == 1
    assert stranger.token_requests == []


def test_pulling_removes_what_nobody_uses_any_more(machine, registry_server):
    here, there, reference = machine("a"), machine("b"), name_in(registry_server.host)
    here.push(build(here, b"one"), reference)
    old = there.store.path(there.store.put(b"of a tag that has moved on"))
    os.utime(old, (0, 0))
    there.pull(reference, AMD64)
    assert not old.exists()


def test_a_manifest_of_docker_s_form_is_read_as_ours(machine, registry_server):
    manifest = build(machine(), b"one")
    text = (
        machine()
        .store.read(manifest.descriptor.digest)
        .decode()
        .replace("vnd.oci.image.manifest.v1", "vnd.docker.distribution.manifest.v2")
    )
    assert read_manifest(text.encode()).layers == manifest.layers
