"""Which files a template depends on."""

import os

import pytest

from drivetrain.environments.template_sources import Sources


@pytest.fixture
def root(tmp_path):
    (tmp_path / "cog.yaml").write_text("predict: predict.py:P\n")
    (tmp_path / "predict.py").write_text("import os\nos.environ['A'] = 'b'\n")
    (tmp_path / "plain.py").write_text("x = 1\n")
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("one")
    return tmp_path


def sources(root, whole):
    return Sources(str(root), str(root / "cog.yaml"), whole=whole)


@pytest.mark.parametrize(
    ("name", "matters", "matters_whole"),
    [
        ("cog.yaml", True, True),
        ("predict.py", True, True),
        ("plain.py", False, True),
        ("data.json", False, True),
        ("notes.txt", False, False),
        ("new.py", False, True),
        (".hidden/new.py", False, False),
        ("venv/lib/new.py", False, False),
        ("__pycache__/new.py", False, False),
    ],
)
def test_a_changed_file_counts_where_it_matters(root, name, matters, matters_whole):
    (root / "venv").mkdir()
    (root / "venv" / "pyvenv.cfg").touch()
    watched = {whole: sources(root, whole) for whole in (False, True)}
    before = {whole: each.digest() for whole, each in watched.items()}
    file = root / name
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text("# changed, and not about variables" if name != "predict.py" else "import os\nos.environ['A'] = 'c'\n")
    assert [watched[whole].digest() != before[whole] for whole in (False, True)] == [matters, matters_whole]


def test_a_file_that_was_merely_touched_does_not_count(root):
    watched = sources(root, True)
    before = watched.digest()
    os.utime(root / "predict.py", ns=(1, 1))
    assert watched.digest() == before


def test_a_file_that_is_gone_counts(root):
    watched = sources(root, True)
    before = watched.digest()
    (root / "plain.py").unlink()
    assert watched.digest() != before


def test_a_copy_of_the_project_is_the_same(root, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    for file in root.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert sources(copy, True).digest() == sources(root, True).digest()
