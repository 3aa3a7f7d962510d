"""The fields of classes that hold named values: data classes, ``TypedDict``, pydantic's and Cog's ``BaseModel``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from drivetrain.dialects.cog.static.constant import evaluate
from drivetrain.dialects.cog.static.json_form import NotJson, json_form
from drivetrain.dialects.cog.static.operation import Unresolved
from drivetrain.dialects.cog.static.scope import Class, External, Scope

_MODELS: Final = frozenset(
    ("cog.BaseModel", "cog.model.BaseModel", "pydantic.BaseModel", "pydantic.main.BaseModel", "pydantic.v1.BaseModel")
)
_ROOT_MODELS: Final = frozenset(("pydantic.RootModel", "pydantic.root_model.RootModel"))
_TYPED_DICTS: Final = frozenset(("typing.TypedDict", "typing_extensions.TypedDict"))
_STRUCTURES: Final = _MODELS | _ROOT_MODELS | _TYPED_DICTS
_DATA_CLASSES: Final = frozenset(("dataclasses.dataclass", "pydantic.dataclasses.dataclass"))
_FIELD_CALLS: Final = frozenset(("pydantic.Field", "pydantic.fields.Field", "pydantic.v1.Field", "dataclasses.field", "cog.Input"))


#: Stands for a default that there is, but that cannot be told or is not JSON.
_SOME: Final = object()


class StructureField(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a structure, its annotation not yet read.

    Attributes:
        scope: Where the annotation is.
        required: Whether an instance cannot be made without it.
        is_none: Whether its default is ``None``.
        default: Its default if it is JSON.
    """

    name: str
    annotation: ast.expr
    scope: Scope
    required: bool
    is_none: bool = False
    default: Any = None
    description: str | None = None


def is_structure(class_: Class) -> bool:
    """Whether the class holds named values."""
    return any(_is_data_class(one) if isinstance(one, Class) else _is_in(one, _STRUCTURES) for one in class_.scope.lineage(class_))


def root_annotation(class_: Class) -> tuple[ast.expr, Scope] | None:
    """For a pydantic model that is one value without a name: its type, and the scope of it."""
    for one in class_.scope.lineage(class_):
        if not isinstance(one, Class):
            continue
        for base in one.node.bases:
            if isinstance(base, ast.Subscript) and one.scope.external_name(base.value) in _ROOT_MODELS:
                return base.slice, one.scope
        for statement in _annotated(one):
            if statement.target.id == "__root__":  # type: ignore[union-attr] # only names are annotated here
                return statement.annotation, one.body
    return None


def structure_fields(class_: Class) -> list[StructureField]:
    """The fields, those of base classes first."""
    fields: dict[str, StructureField] = {}
    is_model = any(_is_in(one, _MODELS) for one in class_.scope.lineage(class_))
    for one in reversed(class_.scope.lineage(class_)):
        if isinstance(one, Class):
            for statement in _annotated(one):
                field = _field(statement, one, is_model=is_model)
                if field is not None:
                    fields[statement.target.id] = field  # type: ignore[union-attr] # only names are annotated here
    return list(fields.values())


def _is_in(base: object, names: frozenset[str]) -> bool:
    return isinstance(base, External) and base.name in names


def _is_data_class(class_: Class) -> bool:
    decorators = (one.func if isinstance(one, ast.Call) else one for one in class_.node.decorator_list)
    return any(class_.scope.external_name(decorator) in _DATA_CLASSES for decorator in decorators)


def _annotated(class_: Class) -> Iterator[ast.AnnAssign]:
    for statement in class_.node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement


def _field(statement: ast.AnnAssign, class_: Class, *, is_model: bool) -> StructureField | None:
    assert isinstance(statement.target, ast.Name)
    name, scope = statement.target.id, class_.body
    form = _form(statement.annotation, scope)
    if form in ("ClassVar", "InitVar") or (is_model and name.startswith("_")):
        return None
    told = _told(statement.value, scope)
    if told.get("init") is False:
        return None
    default = told.get("default", _SOME if "default_factory" in told else ...)
    description = told.get("description")
    return StructureField(
        name=next((alias for key in ("validation_alias", "alias") if isinstance(alias := told.get(key), str)), name),
        annotation=statement.annotation,
        scope=scope,
        required=form == "Required" or (default is ... and form != "NotRequired" and not _is_partial(class_)),
        is_none=default is None,
        default=None if default is ... or default is _SOME else default,
        description=description if isinstance(description, str) else None,
    )


def _form(annotation: ast.expr, scope: Scope) -> str:
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return scope.external_name(base).rpartition(".")[2]


def _is_partial(class_: Class) -> bool:
    """Whether it is a ``TypedDict`` with ``total=False``."""
    return any(
        keyword.arg == "total" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        for keyword in class_.node.keywords
    )


def _told(value: ast.expr | None, scope: Scope) -> dict[str, Any]:
    """What the author says of a field beside its type: a default, or the arguments of ``Field``."""
    if value is None:
        return {}
    if not (isinstance(value, ast.Call) and scope.external_name(value.func) in _FIELD_CALLS):
        return {"default": _json_or_some(value, scope)}
    told = {keyword.arg: _json_or_some(keyword.value, scope) for keyword in value.keywords if keyword.arg}
    if value.args:
        told["default"] = _json_or_some(value.args[0], scope)
    return told


def _json_or_some(node: ast.expr, scope: Scope) -> Any:
    try:
        value = evaluate(node, scope)
        return ... if value is ... else json_form(value)
    except (Unresolved, NotJson):
        return _SOME
