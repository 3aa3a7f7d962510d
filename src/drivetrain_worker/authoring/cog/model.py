"""``cog.BaseModel``: structured outputs (and inputs).

In older releases of Cog it was pydantic's ``BaseModel``; in newer ones subclasses become dataclasses. Here each subclass is what
its author counts on:

    It is a pydantic model if it says so itself: its body has a ``Config``, a ``model_config`` or something made by pydantic
    (``Field(…)``, a validator), or the module it is written in has imported something from pydantic.
    Else it becomes a dataclass, which needs no pydantic in the environment.

A dataclass made here is more patient than the standard one, so that classes written for pydantic work: fields without a default may
follow those with one, a list or dict may be a default (every instance gets a copy), an ``Optional`` field that is not given is
``None``, arguments that are no fields are ignored, and it has ``dict()``, ``json()``, ``model_dump()`` and ``model_dump_json()``.
"""

from __future__ import annotations

import sys
from typing import Any, Collection, Dict, List, Optional, Tuple, Union, get_args, get_origin


class _ModelMeta(type):
    """Decides what a subclass of ``BaseModel`` is made into."""

    def __new__(mcs, name: str, bases: Tuple[type, ...], namespace: Dict[str, Any], **options: Any) -> Any:
        """Make a dataclass, or hand the class over to pydantic."""
        ours = [base for base in bases if isinstance(base, _ModelMeta)]
        if not bases or ours != [BaseModel] or not _uses_pydantic(namespace):
            return super().__new__(mcs, name, bases, namespace, **options)
        from pydantic import BaseModel as PydanticModel  # type: ignore[import-not-found] # the project has it

        theirs = tuple(PydanticModel if base is BaseModel else base for base in bases)
        return type(PydanticModel)(name, theirs, namespace, **options)

    def __init__(cls, name: str, bases: Tuple[type, ...], namespace: Dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, namespace)

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls.__subclasscheck__(type(instance))

    def __subclasscheck__(cls, subclass: type) -> bool:
        if super().__subclasscheck__(subclass):
            return True
        pydantic = sys.modules.get("pydantic")
        return cls is BaseModel and pydantic is not None and issubclass(subclass, pydantic.BaseModel)


class BaseModel(metaclass=_ModelMeta):
    """Base class of structured outputs; see the head of this module.

    Class arguments: ``auto_dataclass=False`` leaves the class as it is written; others are handed to ``dataclasses.dataclass``.
    """

    def __init_subclass__(cls, *, auto_dataclass: bool = True, init: bool = True, **options: Any) -> None:
        super().__init_subclass__()
        if not auto_dataclass:
            return
        import dataclasses

        for name in _annotated_names(cls):
            default = cls.__dict__.get(name)
            if isinstance(default, (list, dict, set)):
                setattr(cls, name, dataclasses.field(default_factory=default.copy))
        dataclasses.dataclass(init=False, **options)(cls)

    def __init__(self, *args: Any, **values: Any) -> None:
        fields = _fields(type(self))
        names = [field.name for field in fields if field.init]
        if len(args) > len(names):
            raise TypeError("'%s' takes at most %d values, not %d" % (type(self).__name__, len(names), len(args)))
        values.update(zip(names, args))
        missing = [field.name for field in fields if not _fill(self, field, values)]
        if missing:
            raise TypeError("'%s' needs a value for %s" % (type(self).__name__, ", ".join("'%s'" % name for name in missing)))
        post_init = getattr(self, "__post_init__", None)
        if post_init is not None:
            post_init()

    def model_dump(
        self, *, include: Optional[Collection[str]] = None, exclude: Collection[str] = (), exclude_none: bool = False
    ) -> Dict[str, Any]:
        """The fields by name; models inside become dictionaries too."""
        shown = {}
        for name in (field.name for field in _fields(type(self))):
            value = getattr(self, name)
            if name not in exclude and (include is None or name in include) and not (exclude_none and value is None):
                shown[name] = _dumped(value)
        return shown

    def dict(self, **options: Any) -> Dict[str, Any]:
        """``model_dump`` by its older name."""
        return self.model_dump(**options)

    def model_dump_json(self, *, indent: Optional[int] = None, **options: Any) -> str:
        """The fields as JSON; what JSON does not know becomes text."""
        import json

        return json.dumps(self.model_dump(**options), indent=indent, default=str)

    def json(self, **options: Any) -> str:
        """``model_dump_json`` by its older name."""
        return self.model_dump_json(**options)


def _uses_pydantic(namespace: Dict[str, Any]) -> bool:
    if "Config" in namespace or "model_config" in namespace:
        return _is_installed("pydantic")
    if "pydantic" not in sys.modules:
        return False
    module = sys.modules.get(namespace.get("__module__", ""))
    return any(map(_is_from_pydantic, [*namespace.values(), *getattr(module, "__dict__", {}).values()]))


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _is_from_pydantic(value: Any) -> bool:
    try:
        origin = value.__name__ if isinstance(value, type(sys)) else value.__module__
    except Exception:  # noqa: BLE001 (any object may stand in a module, also one whose attributes fail)
        return False
    return isinstance(origin, str) and origin.split(".")[0] == "pydantic"


def _annotated_names(cls: type) -> List[str]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return list(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return list(cls.__dict__.get("__annotations__", ()))  # noqa: RUF063 (Python 3.8)


def _fields(cls: Any) -> List[Any]:
    import dataclasses

    return list(dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else []


def _fill(instance: Any, field: Any, values: Dict[str, Any]) -> bool:
    """Set a field from the given values or from what stands in for one; ``False`` if there is neither."""
    from dataclasses import MISSING

    if field.init and field.name in values:
        value = values[field.name]
    elif field.default is not MISSING:
        value = field.default
    elif field.default_factory is not MISSING:
        value = field.default_factory()
    elif _is_optional(type(instance), field):
        value = None
    else:
        return not field.init
    object.__setattr__(instance, field.name, value)
    return True


def _is_optional(cls: type, field: Any) -> bool:
    annotation = field.type
    if isinstance(annotation, str):
        text = annotation.replace(" ", "")
        return text.split("[")[0].split(".")[-1] == "Optional" or text.startswith("None|") or text.endswith("|None")
    is_union = get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"
    return is_union and type(None) in get_args(annotation)


def _dumped(value: Any) -> Any:
    if isinstance(type(value), _ModelMeta):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: _dumped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_dumped(item) for item in value]
    return value
