"""What code does that goes well in an image or by itself, and ill here."""

import pytest

from drivetrain.model.finding import Severity

PATHS, EXITS, BLOCKING, PYDANTIC = (
    "python-absolute-paths",
    "python-exit-at-import",
    "python-blocking-calls",
    "python-pydantic-basemodel",
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("'/src/weights'", "/src/weights"),
        ("'/src'", "/src"),
        ("f'/src/{1}.png'", "/src/"),
        ("'cd /src && make'", "/src"),
        ("'--out=/src/x --in y'", "/src/x"),
        ("'/srcs/x'", None),
        ("'lib/src/x'", None),
        ("'https://example.com/src/x'", None),
    ],
)
def test_paths_of_an_image_are_told(patient, text, path):
    made = patient(f"place = {text}\n")
    assert [f"'{path}'" in diagnosis.problem for diagnosis in made.found(PATHS)] == ([True] if path else [])
    assert made.found(PATHS, has_root_at_src=True) == ()


def test_docstrings_and_comments_may_name_them(patient):
    assert patient('"""In /src/weights."""\n# /src\nclass Predictor:\n    """/src/x"""\n').found(PATHS) == ()


def test_variables_of_the_config_may_name_them_too(patient):
    made = patient(config="environment:\n  - A=1\n  - HF_HOME=/src/.cache\npredict: predict.py:Predictor\n")
    assert made.places(PATHS) == [("cog.yaml", 3)]


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        ("sys.exit(1)", Severity.ERROR),
        ("exit()", Severity.ERROR),
        ("if not sys.argv:\n    os._exit(1)", Severity.WARNING),
        ("try:\n    import nothing\nexcept ImportError:\n    sys.exit('no')", Severity.WARNING),
        ("if __name__ == '__main__':\n    sys.exit(main())", None),
        ("def main():\n    sys.exit(1)", None),
        ("class A:\n    def exit(self): ...\n    def run(self):\n        exit()", None),
        ("def exit(): ...\nexit()", None),
    ],
)
def test_ending_the_process_at_import_is_told(patient, code, severity):
    assert patient(f"import os, sys\n{code}\n").verdicts()[EXITS].severity is severity


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("async def f():\n    time.sleep(1)", 1),
        ("async def f():\n    if True:\n        requests.get('x').json()", 1),
        ("async def f():\n    await asyncio.to_thread(time.sleep, 1)", 0),
        ("async def f():\n    await asyncio.sleep(1)", 0),
        ("async def f():\n    def g():\n        time.sleep(1)", 0),
        ("def f():\n    time.sleep(1)", 0),
    ],
)
def test_coroutines_must_not_block(patient, code, count):
    assert len(patient(f"import asyncio, requests, time\n{code}\n").found(BLOCKING)) == count


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("class Out(cog.BaseModel):\n    a: int = Field(default=1)", 1),
        ("class Out(cog.BaseModel):\n    a: int\n    class Config: ...", 1),
        ("class Out(cog.BaseModel):\n    a: int\n    @pydantic.validator('a')\n    def check(cls, a): ...", 1),
        ("class Out(cog.BaseModel):\n    a: int = 1", 0),
        ("class Out(pydantic.BaseModel):\n    a: int = Field(default=1)", 0),
    ],
)
def test_cogs_base_model_is_no_model_of_pydantic(patient, model, count):
    assert len(patient(f"import cog, pydantic\nfrom pydantic import Field\n{model}\n").found(PYDANTIC)) == count
