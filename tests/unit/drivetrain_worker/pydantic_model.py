"""A model as authors write it with pydantic and numpy; ``test_pydantic.py`` runs it in environments of several ages.

Prints what the worker makes of it as JSON.
"""

import json
import sys
from typing import Any, Dict, List, Optional

import numpy as np
import pydantic
from cog import BaseModel, Input, Path, Secret
from pydantic import Field, validator

from drivetrain_worker.inputs import bind
from drivetrain_worker.outputs import encode
from drivetrain_worker.signature import describe, read_parameters


class Region(BaseModel):
    x: int = Field(ge=0, description="From the left")
    mask: Optional[Path] = None
    children: List["Region"] = []

    @validator("x")
    def doubled(cls, value):  # noqa: N805 (pydantic makes it a class method)
        return 2 * value


class Output(BaseModel):
    text: str
    region: Region
    extra: Dict[str, Any] = {}
    kind: str = Field(default="plain", alias="type")


class Arrays(BaseModel):
    values: np.ndarray

    class Config:
        arbitrary_types_allowed = True


class Foreign(pydantic.BaseModel):
    key: Secret
    path: Path


def predict(region: Region, n: int = Input(default=1), foreign: Foreign = None) -> Output:
    return Output(text="t", region=region, type="fancy", ignored=1)


def main(path):
    saved = []

    def save(source, name):
        saved.append(source)
        return "/saved/" + name

    values = {"region": {"x": 3, "mask": path, "children": [{"x": 1}]}, "foreign": {"key": "k", "path": path}}
    with bind(read_parameters(predict, bound=False), values) as arguments:
        output = predict(**arguments)
        arrays = Arrays(values=np.array([1.5, 2], dtype="float32"))
        scalars = [np.int64(1), np.float32(0.5), np.bool_(True), np.str_("s"), np.float64(2)]
        report = {
            "is_pydantic": issubclass(Output, pydantic.BaseModel),
            "is_cog": isinstance(output, BaseModel),
            "signature": describe(predict, bound=False),
            "arguments": [type(arguments["region"].mask).__module__, str(arguments["foreign"].key)],
            "output": encode(output, save),
            "arrays": encode([arrays, np.zeros((1, 2)), scalars], save)[0],
            "schema": Foreign.schema()["properties"],
        }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
