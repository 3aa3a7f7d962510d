"""A model with inputs of every kind behind a server that all tests of a module share, and what must hold after each of them."""

import sys

import pytest

EVERY_INPUT = """
    from typing import Any, Dict, List, Literal, Optional, Union
    from cog import BaseModel, BasePredictor, File, Input, Path, Secret

    class Point(BaseModel):
        x: int
        label: str = "here"

    class Predictor(BasePredictor):
        def predict(
            self,
            text: str = "",
            short: str = Input(default="abc", min_length=1, max_length=5),
            word: str = Input(default="ab", regex="^[a-z]+$"),
            count: int = 0,
            bounded: int = Input(default=5, ge=1, le=10),
            ratio: float = 0.5,
            flag: bool = False,
            colour: str = Input(default="red", choices=["red", "green"]),
            size: Literal["s", "m"] = "s",
            maybe: Optional[int] = None,
            either: Union[int, str] = 1,
            numbers: List[int] = Input(default=[]),
            table: Dict[str, int] = Input(default={}),
            point: Optional[Point] = None,
            anything: Any = None,
            secret: Secret = Input(default="none"),
            image: Path = None,
            document: File = None,
            images: List[Path] = Input(default=[]),
        ) -> Any:
            seen = [image, *images] if image else images
            return {
                "text": text,
                "anything": anything,
                "count": count,
                "files": [path.read_bytes().decode("utf-8", "replace") for path in seen],
                "document": document.read().decode("utf-8", "replace") if document else None,
            }
"""


@pytest.fixture(scope="module")
def server(make_project, tmp_path_factory):
    with make_project(tmp_path_factory.mktemp("fuzz"), EVERY_INPUT).serve("--queue", "400") as server:
        server.predict()
        yield server


@pytest.fixture(autouse=True)
def unharmed(server):
    """After a test the server is as it was: ready, all slots free, and holding no more of its machine."""
    before = server.footprint() if sys.platform == "linux" else None
    yield
    assert server.wait_for_health("READY", "UNHEALTHY", "DEFUNCT") == "READY"
    answer = server.client.post("/predictions", json={"input": {"text": "still there"}})
    assert answer.json()["output"]["text"] == "still there"
    if before is not None:
        wait_for_descriptors(server, before.descriptors)
        after = server.footprint()
        assert after.children == before.children
        assert after.megabytes < before.megabytes + 100, (before, after)
    log = "".join(server.lines)
    assert "Traceback" not in log, log


def wait_for_descriptors(server, count):
    """Closed connections are noticed one turn of the server's loop later; each question is one."""
    for _ in range(500):
        if server.footprint().descriptors <= count + 2:  # our own connection, and one for a name look-up
            return
        server.health()
    raise AssertionError(f"descriptors stay open: {server.footprint()}, {count} before")
