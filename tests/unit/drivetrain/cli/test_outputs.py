"""Where results go."""

import pytest

from drivetrain.cli.outputs import FileNames, place_files
from drivetrain.cli.target import target_path
from drivetrain.model.errors import Misuse
from drivetrain.model.prediction import OutputFile, OutputValue


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "somewhere" / "made.png"
    path.parent.mkdir()
    path.write_text("pixels")

    def file(*pointer):
        return OutputFile(pointer=pointer, path=path, name="made.png")

    return file


def test_a_lone_file_takes_the_default_stem_and_its_own_suffix(made, tmp_path):
    assert FileNames(None).place(made(), ()).name == "output.png"
    assert (tmp_path / "output.png").read_text() == "pixels"


def test_a_named_target_keeps_its_suffix(made, tmp_path):
    assert FileNames(tmp_path / "x.jpeg").place(made(), ()).name == "x.jpeg"
    assert FileNames(tmp_path / "x").place(made(), ()).name == "x.png"
    assert FileNames(tmp_path / "v1.2").place(made(), ()).name == "v1.2.png"


def test_a_directory_gets_the_default_name_inside(made, tmp_path):
    assert FileNames(tmp_path).place(made(), ()) == tmp_path / "output.png"


def test_files_of_lists_and_batches_are_numbered(made, tmp_path):
    assert FileNames(tmp_path / "x.png").place(made(), (1,)).name == "x.1.png"
    assert FileNames(tmp_path / "x.png", number=3).place(made(), ()).name == "x.3.png"


def test_a_file_inside_an_object_is_written_and_its_path_takes_its_place(made):
    output = OutputValue(value={"mask": None, "score": 1}, files=(made("mask"),))
    value, paths = place_files(output, FileNames(None), ())
    assert value == {"mask": "output.mask.png", "score": 1}
    assert [path.name for path in paths] == ["output.mask.png"]


def test_the_only_file_of_an_object_goes_where_the_user_said(made, tmp_path):
    output = OutputValue(value={"weights": None, "steps": 3}, files=(made("weights"),))
    value, _ = place_files(output, FileNames(tmp_path / "weights.bin"), ())
    assert value == {"weights": str(tmp_path / "weights.bin"), "steps": 3}


def test_several_files_of_an_object_are_told_apart(made, tmp_path):
    output = OutputValue(value={"a": None, "b": None}, files=(made("a"), made("b")))
    _, paths = place_files(output, FileNames(tmp_path / "x.png"), ())
    assert [path.name for path in paths] == ["x.a.png", "x.b.png"]


def test_files_go_beside_the_json_object(made, tmp_path):
    names = FileNames(tmp_path / "result.v2.json", has_summary=True)
    assert names.summary_path == tmp_path / "result.v2.json"
    assert names.place(made(), ()).name == "result.v2.png"
    assert names.place(made(), (1,)).name == "result.v2.1.png"
    output = OutputValue(value={"mask": None}, files=(made("mask"),))
    assert place_files(output, names, ())[0] == {"mask": str(tmp_path / "result.v2.mask.png")}


def test_a_file_never_takes_the_place_of_the_json_object(made, tmp_path):
    file = made().path.rename(tmp_path / "somewhere" / "made.json")
    names = FileNames(tmp_path / "result.json", has_summary=True)
    assert names.place(OutputFile(pointer=(), path=file, name="made.json"), ()).name == "result.output.json"


@pytest.mark.parametrize("target", [None, "x.png", "directory.json"])
def test_the_json_object_has_no_file_where_none_was_named_for_it(made, tmp_path, target):
    (tmp_path / "directory.json").mkdir()
    names = FileNames(tmp_path / target if target else None, has_summary=True)
    assert names.summary_path is None


def test_names_from_a_model_cannot_lead_elsewhere(made):
    assert FileNames(None).place(made(), ("../../x",)).parent.name == ""


def test_a_place_that_is_not_there_is_misuse(tmp_path):
    with pytest.raises(Misuse, match="no directory"):
        target_path(str(tmp_path / "no" / "x.png"))
