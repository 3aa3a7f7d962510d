"""Layers as directories: what they hold, what they take away, and what hostile ones must not reach."""

import gzip
import hashlib
import io
import itertools
import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from drivetrain.images.descriptor import LAYER, Descriptor
from drivetrain.images.errors import Damaged
from drivetrain.images.layer_tree import real_entry, unpack_layer
from drivetrain.model.errors import OutsideFailed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="images are unpacked on Linux")


def entry(name, content=None, **fields):
    """A header and its content: a directory if there is none and nothing else is said."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    info.mode = 0o755
    data = (content or "").encode()
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def symlink(name, target):
    return entry(name, "", type=tarfile.SYMTYPE, linkname=target)


def hard_link(name, target):
    return entry(name, "", type=tarfile.LNKTYPE, linkname=target)


def archive(*entries, form=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for info, data in entries:
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


class Layers:
    """Unpacks one layer after the other."""

    def __init__(self, directory):
        self.directory = directory
        self.trees = []
        self._numbers = itertools.count()

    def add(self, *entries, spare=0):
        return self.add_archive(archive(*entries), spare=spare)

    def add_archive(self, content, *, kind="", packed=None, diff_id=None, spare=0):
        number = next(self._numbers)
        blob, tree = self.directory / f"blob-{number}", self.directory / f"tree-{number}"
        tree.mkdir(parents=True)
        blob.write_bytes(packed or content)
        diff_id = diff_id or f"sha256:{hashlib.sha256(content).hexdigest()}"
        layer = Descriptor(media_type=LAYER + kind, digest=f"sha256:{'0' * 64}", size=1)
        removals = unpack_layer(blob, layer, diff_id, tree, self.trees, spare_bytes=spare)
        self.trees.append(tree)
        return tree, removals


@pytest.fixture
def layers(tmp_path):
    (tmp_path / "layers").mkdir()
    (tmp_path / "secret").write_text("of the host")
    return Layers(tmp_path / "layers")


def test_files_keep_their_content_mode_and_time(layers):
    tree, removals = layers.add(
        entry("bin", mode=0o1777, mtime=7), entry("bin/tool", "x" * 3000, mode=0o6755, mtime=1234), entry("b", "", mode=0o400)
    )
    found = (tree / "bin/tool").stat()
    assert (tree / "bin/tool").read_text() == "x" * 3000
    assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o755, 1234)  # nobody gets the rights of its owner by it
    assert (stat.S_IMODE((tree / "bin").stat().st_mode), (tree / "bin").stat().st_mtime) == (0o1777, 7)
    assert stat.S_IMODE((tree / "b").stat().st_mode) == 0o400
    assert (removals.gone, removals.emptied) == ((), ())


@pytest.mark.parametrize(
    ("kind", "compress"), [("", bytes), ("+gzip", gzip.compress), ("+zstd", zstandard.ZstdCompressor().compress)]
)
def test_every_compression_is_read(layers, kind, compress):
    content = archive(entry("a/b", "content"))
    tree, _ = layers.add_archive(content, kind=kind, packed=compress(content))
    assert (tree / "a/b").read_text() == "content"


def test_what_is_cut_off_or_no_archive_is_damaged(layers):
    content = archive(entry("a", "content"))
    for kind, packed in (
        ("+gzip", gzip.compress(content)[:-9]),
        ("+zstd", zstandard.ZstdCompressor().compress(content)[:-5]),
        ("+gzip", b"nothing of the kind"),
        ("", b"x" * 2048),
    ):
        with pytest.raises(Damaged):
            layers.add_archive(content, kind=kind, packed=packed)


def test_a_layer_that_is_not_the_image_s_own_is_refused(layers):
    with pytest.raises(Damaged, match="not the one that its image names"):
        layers.add_archive(archive(entry("a", "x")), diff_id=f"sha256:{'1' * 64}")


@pytest.mark.parametrize("name", ["../out", "a/../../out", "..", "a/.."])
def test_paths_that_lead_out_are_refused(layers, name):
    with pytest.raises(Damaged, match="leads out of it"):
        layers.add(entry(name, "x"))


def test_absolute_paths_are_of_the_image(layers):
    tree, _ = layers.add(entry("/etc/name", "x"))
    assert (tree / "etc/name").read_text() == "x"


@pytest.mark.parametrize("target", ["/", "../../../..", "/etc/../..", "."])
def test_symbolic_links_lead_to_where_they_would_in_a_container(layers, target):
    tree, _ = layers.add(symlink("way", target), entry("way/secret", "of the layer"), entry("way/deep/er", "x"))
    assert (tree / "secret").read_text() == "of the layer"
    assert (tree / "deep/er").read_text() == "x"
    assert (layers.directory.parent / "secret").read_text() == "of the host"


def test_a_link_to_a_file_of_the_host_is_replaced_and_not_written_through(layers):
    host = layers.directory.parent / "secret"
    tree, _ = layers.add(symlink("a", str(host)), entry("a", "new"))
    assert not (tree / "a").is_symlink()
    assert host.read_text() == "of the host"


def test_hard_links_do_not_reach_the_host(layers):
    host = layers.directory.parent / "secret"
    with pytest.raises(Damaged, match="which is no file"):
        layers.add(hard_link("a", str(host)))


def test_hard_links_do_not_reach_the_host_through_a_layer_below(tmp_path):
    (tmp_path / "secret").write_text("of the host")
    layers = Layers(tmp_path / "layers")
    layers.directory.mkdir()
    layers.add(symlink("way", str(tmp_path)))
    with pytest.raises(Damaged):
        layers.add(hard_link("a", "way/secret"))


def test_hard_links_are_one_file_in_this_layer_and_into_those_below(layers):
    layers.add(entry("low", "below"))
    tree, _ = layers.add(entry("a", "content"), hard_link("d/b", "a"), hard_link("high", "low"))
    assert (tree / "a").samefile(tree / "d/b")
    assert (tree / "high").read_text() == "below"
    with pytest.raises(Damaged):
        layers.add(entry("d"), hard_link("x", "d"))


def test_links_that_lead_round_are_refused(layers):
    with pytest.raises(Damaged, match="lead nowhere"):
        layers.add(symlink("a", "b"), symlink("b", "a"), entry("a/c", "x"))


def test_a_file_is_no_directory(layers):
    with pytest.raises(Damaged, match="as a file and as a directory"):
        layers.add(entry("a", "x"), entry("a/b", "x"))


def test_directories_can_be_removed_by_their_owner(layers):
    tree, _ = layers.add(entry("a", mode=0o555), entry("a/b", mode=0))
    assert [stat.S_IMODE((tree / name).stat().st_mode) for name in ("a", "a/b")] == [0o755, 0o700]


def test_devices_and_pipes_are_left_out(layers):
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    tree, _ = layers.add(*(entry(f"dev/{kind.decode()}", "", type=kind) for kind in kinds), entry("dev/file", "x"))
    assert os.listdir(tree / "dev") == ["file"]


def test_the_last_entry_of_a_name_counts(layers):
    tree, _ = layers.add(
        *(entry("a/b", "x"), entry("a", "now a file"), symlink("l", "nowhere"), entry("l"), entry("l/x", "y")),
        *(entry("f", "1"), entry("f", "2"), hard_link("f", "f")),
    )
    assert (tree / "a").read_text() == "now a file"
    assert (tree / "l/x").read_text() == "y"
    assert (tree / "f").read_text() == "2"


def test_a_directory_that_is_not_named_stays_as_it_is_below(layers):
    layers.add(entry("tmp", mode=0o1777))
    tree, _ = layers.add(entry("tmp/file", "x"), entry("new/file", "x"))
    assert stat.S_IMODE((tree / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE((tree / "new").stat().st_mode) == 0o755


def test_what_a_layer_takes_away_is_noted_and_marked(layers):
    tree, removals = layers.add(
        entry("etc/.wh.motd", ""), entry("srv/.wh..wh..opq", ""), entry("srv/new", "x"), entry(".wh..wh.plnk", "")
    )
    assert (removals.gone, removals.emptied) == (("etc/motd",), ("srv",))
    if removals.is_marked:  # the file system can hold it
        assert stat.S_ISCHR((tree / "etc/motd").lstat().st_mode)
        assert os.getxattr(tree / "srv", "user.overlay.opaque") == b"y"
    assert not any(".wh." in name for _, _, names in os.walk(tree) for name in names)


def test_a_directory_taken_away_and_made_anew_shows_nothing_of_the_old_one(layers):
    _, removals = layers.add(entry(".wh.a", ""), entry("a/new", "x"), entry(".wh.f", ""), entry("f", "new"))
    assert removals.emptied == ("a",)
    assert "a" not in removals.gone


def test_an_emptied_root_cannot_be_marked(layers):
    _, removals = layers.add(entry(".wh..wh..opq", ""))
    assert (removals.emptied, removals.is_marked) == (("",), False)


def test_the_headers_of_an_entry_are_bounded(layers):
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        content = archive(entry("a" * 3_000_000, "x"), form=form)
        with pytest.raises(Damaged, match="description alone is larger"):
            layers.add_archive(content)


def test_a_link_that_says_it_is_large_lets_no_more_be_read(layers):
    link, _ = symlink("l", "target")
    link.size = 1 << 40
    large, _ = entry("a" * 3_000_000, "x")
    content = link.tobuf() + large.tobuf(format=tarfile.PAX_FORMAT) + b"x" * 512 + b"\0" * 1024
    with pytest.raises(Damaged, match="description alone is larger"):
        layers.add_archive(content)


def test_headers_without_an_end_are_damaged(layers):
    header = tarfile.TarInfo.create_pax_global_header({"comment": "x"})
    with pytest.raises(Damaged):
        layers.add_archive(header * 1500 + archive(entry("a", "x")))


def test_a_layer_may_be_only_so_large(layers, monkeypatch):
    monkeypatch.setattr("drivetrain.images.layer_tree._LARGEST_LAYER_BYTES", 1_000_000)
    with pytest.raises(Damaged, match="a layer is larger than"):
        layers.add(entry(".wh.a", "x" * 2_000_000))


def test_an_archive_goes_on_after_large_files(layers):
    tree, _ = layers.add(entry("large", "x" * 5_000_000), entry("small", "y"))
    assert ((tree / "large").stat().st_size, (tree / "small").read_text()) == (5_000_000, "y")


def test_a_part_of_the_disk_stays_free(layers):
    with pytest.raises(OutsideFailed, match="the disk is too full to unpack an image"):
        layers.add(entry("zeros", "\0" * 70_000_000), spare=1 << 62)


def test_directories_have_a_depth_that_can_be_gone_to(layers):
    with pytest.raises(Damaged, match="deep"):
        layers.add(entry("a/" * 300 + "b", "x"))
    with pytest.raises(Damaged, match="deep"):
        layers.add(entry("a/" * 200 + "b"), symlink("l", "a/" * 200), entry("l/" + "a/" * 100 + "c", "x"))


def test_names_that_cannot_be_are_refused(layers):
    for name in ("a" * 300, "a/" * 2500 + "b", ".wh." + "a" * 5000):
        with pytest.raises(Damaged, match="cannot be"):
            layers.add(entry(name, "x"))


def test_nothing_is_found_through_a_link(tmp_path):
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/file").write_text("x")
    (tmp_path / "tree/link").symlink_to("d")
    assert real_entry(tmp_path / "tree", ["d", "file"]) is not None
    assert real_entry(tmp_path / "tree", ["link", "file"]) is None
    assert real_entry(tmp_path / "tree", ["d", "file", "x"]) is None
    assert real_entry(tmp_path / "tree", ["none"]) is None
    assert stat.S_ISLNK(real_entry(Path(tmp_path / "tree"), ["link"]).st_mode)
