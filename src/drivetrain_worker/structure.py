"""The fields of a class that holds named values, whatever made it: a dataclass, a ``TypedDict``, pydantic 1 or 2.

Libraries are recognised by what their classes carry; none is imported.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional

#: Stands for "no default", since ``None`` is one.
MISSING: Any = object()


class StructureField(NamedTuple):
    """One field.

    Attributes:
        name: What it is called in JSON, and by whoever makes an instance.
        annotation: Its type as written, perhaps text.
        required: Whether an instance cannot be made without it.
        default: Its default, or ``MISSING``.
        description: What the author says of it.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = MISSING
    description: Optional[str] = None


def fields_of(cls: type) -> Optional[List[StructureField]]:
    """The fields, in order, or ``None`` if the class is nothing of the kind."""
    for attribute, read in _READERS.items():
        if hasattr(cls, attribute):
            return read(cls)
    return None


def is_structure(cls: type) -> bool:
    """Whether ``values_of`` can take instances apart."""
    return hasattr(cls, "__dataclass_fields__") or is_pydantic(cls)


def values_of(instance: Any) -> Any:
    """The values in an instance of a structure by name; for a pydantic model that is one value without a name, that value."""
    if hasattr(instance, "__dataclass_fields__"):
        import dataclasses

        return {field.name: getattr(instance, field.name, None) for field in dataclasses.fields(instance)}
    if hasattr(instance, "model_dump"):
        return instance.model_dump()
    values = instance.dict()
    return values.get("__root__", values)


def coder_of(cls: type) -> Any:
    """What the author registered with ``cog.coder`` for a class, or ``None``."""
    module = sys.modules.get("cog.coder")
    return None if module is None else module.Coder.lookup(cls)


def is_typed_dict(cls: type) -> bool:
    """Whether instances are plain dictionaries."""
    return hasattr(cls, "__total__") and hasattr(cls, "__annotations__")


def is_pydantic(cls: type) -> bool:
    """Whether pydantic makes and checks the instances."""
    return hasattr(cls, "__pydantic_validator__") or (hasattr(cls, "__fields__") and hasattr(cls, "__validators__"))


def root_annotation(cls: type) -> Any:
    """For a pydantic model that is one value without a name: its type; else ``MISSING``."""
    if getattr(cls, "__pydantic_root_model__", False):
        return cls.model_fields["root"].annotation  # type: ignore[attr-defined] # root models have it
    if hasattr(cls, "__fields__") and not hasattr(cls, "model_fields") and "__root__" in cls.__fields__:
        return cls.__fields__["__root__"].outer_type_
    return MISSING


def namespace_of(cls: type) -> Dict[str, Any]:
    """The names that annotations in the class's body may use."""
    names: Dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        names.update(getattr(sys.modules.get(base.__module__), "__dict__", {}))
    names.update(vars(cls))
    names.setdefault(cls.__name__, cls)
    return names


def _of_pydantic_2(cls: Any) -> List[StructureField]:
    return [
        StructureField(
            name=_alias(field, name),
            annotation=field.annotation,
            required=field.is_required(),
            default=MISSING if field.is_required() or field.default_factory is not None else field.default,
            description=field.description,
        )
        for name, field in cls.model_fields.items()
    ]


def _alias(field: Any, name: str) -> str:
    for alias in (field.validation_alias, field.alias):
        if isinstance(alias, str):
            return alias
    return name


def _of_pydantic_1(cls: Any) -> List[StructureField]:
    return [
        StructureField(
            name=field.alias,
            annotation=Optional[field.outer_type_] if field.allow_none else field.outer_type_,
            required=bool(field.required),
            default=MISSING if field.required or field.default_factory is not None else field.default,
            description=field.field_info.description,
        )
        for field in cls.__fields__.values()
    ]


def _of_dataclass(cls: type) -> List[StructureField]:
    import dataclasses

    found = []
    for field in dataclasses.fields(cls):
        if field.init:
            has_default = field.default is not dataclasses.MISSING
            has_factory = field.default_factory is not dataclasses.MISSING
            default = field.default if has_default else MISSING
            found.append(StructureField(field.name, field.type, not (has_default or has_factory), default))
    return found


def _of_typed_dict(cls: type) -> List[StructureField]:
    annotations = _annotations(cls)
    required = getattr(cls, "__required_keys__", annotations if cls.__total__ else ())  # type: ignore[attr-defined]
    return [StructureField(name, annotation, name in required) for name, annotation in annotations.items()]


def _annotations(cls: type) -> Dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return cls.__annotations__


#: By an attribute that only such classes have; the first that fits decides (pydantic 2 still has ``__fields__``).
_READERS: Dict[str, Callable[[Any], List[StructureField]]] = {
    "model_fields": _of_pydantic_2,
    "__dataclass_fields__": _of_dataclass,
    "__validators__": _of_pydantic_1,
    "__total__": _of_typed_dict,
}
