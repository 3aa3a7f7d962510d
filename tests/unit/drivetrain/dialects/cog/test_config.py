"""cog.yaml in all its forms: what is read, what is refused, and what is said about it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivetrain.dialects.cog.config import read_config
from drivetrain.model.finding import Severity
from drivetrain.model.project import BuildCommand, Mode, Reference, Weight, WeightSource

NOWHERE = Path("/nonexistent/project")


def read(text, root=NOWHERE):
    return read_config(text, file=root / "cog.yaml", root=root, shown_as="cog.yaml")


def project(text, root=NOWHERE):
    reading = read(text, root)
    assert not reading.findings
    return reading.project


def found(text, root=NOWHERE):
    return [(finding.code, finding.line) for finding in read(text, root).findings]


def only_finding(text, root=NOWHERE):
    (finding,) = read(text, root).findings
    return finding


FULL = """\
build:
  gpu: true
  python_version: 3.10
  python_packages:
    - torch==2.4.0
  system_packages:
    - ffmpeg
    - libgl1 libglib2.0-0
  run:
    - echo one
    - command: make
      mounts:
        - type: secret
          id: token
          target: /run/secrets/token
  cuda: 12.4
  cudnn: 9
  sdk_version: 0.16.0
image: me/model
predict: predict.py:Predictor
train: sub/train.py:train
concurrency:
  max: 4
environment:
  - A=1
  - B="x = y"
weights:
  - name: base
    target: /src/weights
    source:
      uri: hf://org/repo@main
      include: ["*.bin"]
"""


def test_every_key_reaches_the_project():
    whole = project(FULL)
    environment = whole.environment
    assert whole.predict == Reference(file="predict.py", name="Predictor")
    assert whole.entry_point(Mode.TRAIN) == Reference(file="sub/train.py", name="train")
    assert (whole.image, whole.concurrency, whole.dialect) == ("me/model", 4, "cog")
    assert (environment.gpu, environment.python_version) == (True, "3.10")
    assert (environment.cuda, environment.cudnn) == ("12.4", "9")
    assert environment.requirements == ("torch==2.4.0",)
    assert environment.system_packages == ("ffmpeg", "libgl1", "libglib2.0-0")
    assert environment.variables == {"A": "1", "B": "x = y"}
    assert environment.commands[0] == BuildCommand(command="echo one")
    assert environment.commands[1] == BuildCommand(command="make", secret_mounts=(("token", "/run/secrets/token"),))
    source = WeightSource(uri="hf://org/repo@main", include=("*.bin",))
    assert whole.weights == (Weight(name="base", target="/src/weights", sources=(source,)),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "~\n", "build:\n", "build: {}\npredict:\n", "build:\n  run:\n"])
def test_what_is_absent_or_empty_reads_as_the_defaults(text):
    empty = project(text)
    assert empty.predict is None
    assert empty.environment.python_version is None
    assert empty.environment.requirements == ()


@pytest.mark.parametrize("written", ["3.10", '"3.10"', "'3.10'", "!!str 3.10"])
def test_a_version_keeps_its_last_zero(written):
    assert project(f"build:\n  python_version: {written}\n").environment.python_version == "3.10"


@pytest.mark.parametrize("key", ["run", "predict"])
def test_both_names_of_the_entry_point_are_known(key):
    assert project(f"{key}: ./model.py:Model\n").predict == Reference(file="model.py", name="Model")


def test_an_anchor_can_be_merged_into_the_build():
    text = "build:\n  <<: &base {gpu: true}\n  python_version: '3.12'\n"
    assert project(text).environment.gpu is True


def test_all_errors_come_at_once_in_the_order_of_their_lines():
    text = (
        "build:\n  gpu: 'yes'\n  python_version: 2.7\n  system_packages: ffmpeg\n"
        "predict: predict:Predictor\nconcurrency: 5\nenvironment:\n  - PATH=/x\n"
    )
    expected = ["wrong-form", "python-version", "wrong-form", "reference", "wrong-form", "environment"]
    assert [code for code, _ in found(text)] == expected
    assert [line for _, line in found(text)] == [2, 3, 4, 5, 6, 8]


def test_a_finding_says_place_problem_and_remedy():
    assert str(only_finding("build:\n  gpu: 'yes'\n")) == (
        "cog.yaml:2: 'build.gpu' is the text \"yes\" where true or false is wanted; write 'gpu: true'"
    )


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("build: 3\n", "write 'build:' with its keys indented below it"),
        ("build:\n  system_packages: ffmpeg\n", "write 'system_packages: [\"ffmpeg\"]'"),
        ("build:\n  python_version: ['3.12']\n", "write 'python_version: \"3.12\"'"),
        ("build:\n  run: make\n", "begin every command with '- '"),
        ("build:\n  run:\n    - echo a: b\n", 'the colon made two parts of it: write - "echo a: b"'),
        ("build:\n  python_requirements: [a, b]\n", "rename the key to 'python_packages', or move the list into a file"),
        ("environment:\n  A: b\n", "write 'environment: [\"A=b\"]'"),
        ("environment:\n  - A: b\n", 'the colon made two parts of it: write - "A=b"'),
        ("concurrency:\n  max: '4'\n", "write 'max: 4'"),
        ("concurrency:\n  max: 0\n", "write 'max: 1'"),
        ("weights: big.bin\n", "write 'weights: [{name: base, target: /src/weights, source: {uri: hf://org/repo}}]'"),
        ("- a\n", "write 'predict: predict.py:Predictor', for example"),
    ],
)
def test_a_value_of_the_wrong_form_comes_with_the_right_one(text, remedy):
    finding = only_finding(text)
    assert (finding.code, finding.severity, finding.remedy) == ("wrong-form", Severity.ERROR, remedy)


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("predict:Predictor", "write 'predict: predict.py:Predictor'"),
        ("predict.py", "write 'predict: predict.py:Predictor'"),
        ("src.predict:Model", "write 'predict: src/predict.py:Model'"),
        ("a.py:b:c", "write 'predict: a.py:b'"),
        ("predict.py:My Model", "write 'predict: predict.py:Predictor'"),
        (".py:X", "write 'predict: predict.py:X'"),
    ],
)
def test_a_reference_of_the_wrong_form_comes_with_the_likely_one(written, remedy):
    finding = only_finding(f"predict: '{written}'\n")
    assert (finding.code, finding.remedy) == ("reference", remedy)


@pytest.mark.parametrize(
    "text", ["predict: ../p.py:P", "run: /p.py:P", "train: a/../../t.py:t", "build: {python_requirements: ../r.txt}"]
)
def test_paths_stay_within_the_project(text):
    assert found(text) == [("outside-project", 1)]


def test_run_and_predict_together_are_an_error():
    assert found("run: a.py:A\npredict: b.py:B\n") == [("predict-twice", 2)]


@pytest.mark.parametrize(
    ("version", "accepted"), [("3.7", False), ("2.7.18", False), ("3.8", True), ("3.9.18", True), ("3.14", True)]
)
def test_python_versions_from_3_8_on_are_accepted(version, accepted):
    assert (read(f"build:\n  python_version: {version}\n").project is not None) is accepted


def test_a_version_that_lost_its_zero_is_recognised():
    assert only_finding("build:\n  python_version: 3.1\n").remedy == 'write "3.10"'


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("build:\n  python_verson: '3.12'\n", "'build.python_verson' is not a key of cog.yaml", "did you mean 'python_version'?"),
        ("prediction: p.py:P\n", "'prediction' is not a key of cog.yaml", "did you mean 'predict'?"),
        ("gpu: true\n", "'gpu' is not a key of cog.yaml", "move it under 'build:'"),
        (
            "build:\n  predict: p.py:P\n",
            "'build.predict' is not a key of cog.yaml",
            "move it to the top level, without indentation",
        ),
        ("sytem_packages: [a]\n", "'sytem_packages' is not a key of cog.yaml", "did you mean 'system_packages' under 'build:'?"),
        ("concurrency:\n  maximum: 2\n", "'concurrency.maximum' is not a key of cog.yaml", "did you mean 'max'?"),
        ("build:\n  fast: true\n", "'build.fast' has no effect any more", "remove it"),
        ("tests: []\n", "'tests' has no effect any more", "remove it"),
    ],
)
def test_keys_without_effect_are_told_and_tolerated(text, problem, remedy):
    finding = only_finding(text)
    assert (finding.severity, finding.problem, finding.remedy) == (Severity.WARNING, problem, remedy)
    assert read(text).project is not None


def test_the_index_keys_of_early_versions_still_count():
    text = "build:\n  python_packages: [torch]\n  python_extra_index_urls: ['https://x.example']\n  python_find_links: [https://y.example]\n"
    expected = ("--extra-index-url https://x.example", "--find-links https://y.example", "torch")
    assert project(text).environment.requirements == expected


def test_pre_install_comes_after_run_with_a_warning():
    reading = read("build:\n  pre_install: [second]\n  run: [first]\n")
    assert [command.command for command in reading.project.environment.commands] == ["first", "second"]
    assert [finding.code for finding in reading.findings] == ["deprecated-key"]


def test_a_command_of_several_lines_is_an_error():
    assert found("build:\n  run:\n    - |\n      a\n      b\n") == [("several-lines", 3)]


def test_a_block_of_one_line_is_a_command():
    assert project("build:\n  run:\n    - |\n      make\n").environment.commands == (BuildCommand(command="make"),)


def test_packages_and_requirements_file_together_are_an_error(tmp_path):
    (tmp_path / "r.txt").write_text("numpy\n")
    assert found("build:\n  python_requirements: r.txt\n  python_packages: [torch]\n", tmp_path) == [("requirements-twice", 3)]


def test_a_missing_requirements_file_is_an_error():
    assert found("build:\n  python_requirements: r.txt\n") == [("missing-file", 2)]


def test_findings_in_the_requirements_file_name_it(tmp_path):
    (tmp_path / "r.txt").write_text("numpy\nscipy=1\n")
    reading = read_config(
        "build:\n  python_requirements: r.txt\n", file=tmp_path / "cog.yaml", root=tmp_path, shown_as="../model/cog.yaml"
    )
    assert [finding.place for finding in reading.findings] == ["../model/r.txt:2"]


@pytest.mark.parametrize(
    "item", ["A", "1A=x", "=x", "A B=x", "PATH=x", "LD_LIBRARY_PATH=x", "R8_TOKEN=x", "CUDA_HOME=x", "KUBERNETES_X=y"]
)
def test_variables_that_cannot_be_set_are_errors(item):
    assert found(f"environment:\n  - B=1\n  - {item}\n") == [("environment", 3)]


def test_a_variable_set_twice_is_an_error():
    assert found("environment: [A=1, A=2]\n") == [("environment", 1)]


@pytest.mark.parametrize(("item", "value"), [("A=", ""), ("A=a=b", "a=b"), ("A='x y'", "x y"), ('A="x', '"x')])
def test_values_of_variables_lose_only_the_quotes_around_them(item, value):
    quoted = item.replace("'", "''")
    assert project(f"environment:\n  - '{quoted}'\n").environment.variables == {"A": value}


@pytest.mark.parametrize("image", ["python:3.11", "nvidia/cuda:12.1.0-devel-ubuntu22.04", "r8.im/cog-base:cuda11.8"])
def test_an_image_that_looks_like_a_base_is_told(image):
    assert found(f"image: {image}\n") == [("image-is-a-name", 1)]


@pytest.mark.parametrize("model", ["https://r8.im/me/model", "me/model:latest", "model", "infer.py:Model"])
def test_a_model_is_a_bare_repository(model):
    assert found(f"model: {model}\n") == [("model", 1)]


def test_model_and_image_exclude_each_other():
    assert project("model: r8.im/me/model\n").model == "r8.im/me/model"
    assert found("model: r8.im/me/model\nimage: x\n") == [("model", 1)]


@pytest.mark.parametrize(
    "item",
    [
        "{target: /a, source: {uri: x}}",
        "{name: Big, target: /a, source: {uri: x}}",
        "{name: a, source: {uri: x}}",
        "{name: a, target: a, source: {uri: x}}",
        "{name: a, target: /, source: {uri: x}}",
        "{name: a, target: /a}",
        "{name: a, target: /a, source: x}",
        "{name: a, target: /a, source: {}}",
        "{name: a, target: /a, source: {uri: 'ftp://x'}}",
        "{name: a, target: /a, source: {uri: 'hf://org'}}",
        "{name: a, target: /a, source: {uri: x, include: ['!y']}}",
        "{name: other, target: /a, source: {uri: x}}",
        "{name: a, target: /other/sub, source: {uri: x}}",
        "text",
    ],
)
def test_weights_that_are_wrong_are_errors(item):
    assert found(f"weights:\n  - {{name: other, target: /other, source: {{uri: x}}}}\n  - {item}\n") == [("weights", 3)]


def test_a_weight_may_have_several_sources():
    text = "weights:\n  - name: a\n    target: /a\n    source: [{uri: hf://o/r}, {uri: 'https://x.example/y'}, {uri: local}]\n"
    assert [source.uri for source in project(text).weights[0].sources] == ["hf://o/r", "https://x.example/y", "local"]


@given(st.text())
def test_no_text_makes_it_raise(text):
    reading = read(text)
    assert (reading.project is None) == any(finding.severity is Severity.ERROR for finding in reading.findings)


YAML_CRUMBS = st.sampled_from(
    [*FULL.splitlines(keepends=True), "\t", ": ", "- ", "&a ", "*a", "<<: ", "'", '"', "[", "{", "~", "|\n", "\n", "  ", "#"]
)


@settings(max_examples=300)
@given(st.data())
def test_no_mutation_of_a_good_file_makes_it_raise(data):
    start = data.draw(st.integers(0, len(FULL)))
    end = data.draw(st.integers(start, min(len(FULL), start + 60)))
    middle = "".join(data.draw(st.lists(YAML_CRUMBS | st.text(max_size=5), max_size=4)))
    reading = read(FULL[:start] + middle + FULL[end:])
    assert (reading.project is None) == any(finding.severity is Severity.ERROR for finding in reading.findings)
