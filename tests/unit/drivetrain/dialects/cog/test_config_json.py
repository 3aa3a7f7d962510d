"""A cog.yaml as images carry it."""

import pytest

from drivetrain.dialects.cog.config_json import config_as_json


def test_versions_stay_text_and_the_rest_is_what_yaml_says(tmp_path):
    (tmp_path / "cog.yaml").write_text(
        'build: {python_version: 3.10, gpu: yes, cuda: 12.4, run: [echo "1"]}\npredict: "predict.py:P"\nconcurrency: {max: 4}\nimage:\n'
    )
    assert config_as_json(tmp_path / "cog.yaml") == {
        "build": {"python_version": "3.10", "gpu": True, "cuda": "12.4", "run": ['echo "1"']},
        "predict": "predict.py:P",
        "concurrency": {"max": 4},
        "image": None,
    }


def test_an_empty_file_is_an_empty_object(tmp_path):
    (tmp_path / "cog.yaml").write_text("")
    assert config_as_json(tmp_path / "cog.yaml") == {}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_says_how_to_read_it(tmp_path, encoding):
    (tmp_path / "cog.yaml").write_text("predict: prédire.py:P\n", encoding=encoding)
    assert config_as_json(tmp_path / "cog.yaml") == {"predict": "prédire.py:P"}
