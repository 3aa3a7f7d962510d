"""From ``file.py:Name`` to something that can be called: import the author's module and find the entry point in it.

The surroundings are those that projects rely on: the project's root is the working directory and the first entry of ``sys.path``,
the module goes by the file's base name, ``sys.argv`` has one element, and nothing heavy was imported before it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from types import ModuleType
from typing import Any, Callable, Collection, Dict, Optional, Sequence, Set

from drivetrain_worker.inputs import Bound, bind, open_weights
from drivetrain_worker.signature import describe, read_parameters, see_through_decorators, settle_defaults

#: The methods that run a prediction. Older projects have ``predict``, and ``run`` may be a method of their own beside it.
_PREDICT_METHODS = ("predict", "run")


class LoadError(Exception):
    """The project's entry point is not as it must be."""


#: What the worker imports only when it needs it. In a project that has files named like modules of the standard library, it would
#: get those.
_IMPORTED_LATE = (
    "asyncio",
    "concurrent.futures.thread",
    "dataclasses",
    "json",
    "mimetypes",
    "pathlib",
    "shutil",
    "tempfile",
    "threading",
    "urllib.request",
)

#: Directories that are in the standard library's, and that nothing here imports.
_OF_NO_CONCERN = {"__pycache__", "site-packages", "test"}


def enter_project(root: str) -> None:
    """Make ``root`` the working directory and the first place to import from, but not for ``cog`` and what the worker needs."""
    os.chdir(root)
    importlib.import_module("cog")
    if _module_names(root) & _module_names(os.path.dirname(os.__file__)) - _OF_NO_CONCERN:
        for name in _IMPORTED_LATE:
            importlib.import_module(name)
    sys.path.insert(0, root)


def _module_names(directory: str) -> Set[str]:
    return {os.path.splitext(name)[0] for name in os.listdir(directory)}


def import_file(root: str, file: str) -> ModuleType:
    """Import the author's module under its base name, as pickles and ``multiprocessing`` expect to find it."""
    path = os.path.join(root, file)
    name = os.path.splitext(os.path.basename(file))[0]
    if not os.path.isfile(path):
        raise LoadError("'%s' is not there" % file)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError("'%s' is not a Python file" % file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.argv[:] = [file]  # modules parse sys.argv at import; they must find nothing of ours in it
    spec.loader.exec_module(module)
    return module


class EntryPoint:
    """A class or function that runs predictions (or trainings), not yet set up.

    Attributes:
        description: The signature in its wire form.
        batches: Whether several predictions can be run with one call.
        takes_lists: Whether that call is ``predict`` itself, with a list for each input.
        is_async: Whether calls give something to await or to iterate asynchronously.
        streams: Whether its output is a list whose items come one by one.
    """

    def __init__(self, target: Any, *, mode: str, takes_lists: bool = False) -> None:
        self._target = target
        self._class = _class_of(target, mode)
        if self._class is not None:
            self._method = _method_of(self._class, mode)
            function = _plain_function(self._class, self._method)
            bound = not isinstance(inspect.getattr_static(self._class, self._method), staticmethod)
        elif callable(target):
            self._method, function, bound = "", target, False
        else:
            raise LoadError("it is of type '%s', and neither a class nor a function" % type(target).__name__)
        see_through_decorators(function)
        self.description: Dict[str, Any] = describe(function, bound=bound)
        self._parameters = read_parameters(function, bound=bound)
        settle_defaults(function)
        self._batch_method = _batch_method_of(self._class) if self._class is not None and mode != "train" else None
        self.takes_lists = takes_lists and self._batch_method is None
        if self.takes_lists:
            self.description = one_of_each(self.description)
        self.batches: bool = self.takes_lists or self._batch_method is not None
        self.is_async: bool = self.description["async"]
        self.output: Dict[str, Any] = self.description["output"]
        self.streams: bool = self.output["kind"] == "iterator"

    def create(self) -> "Model":
        """Make the object that holds the model; runs the author's ``__init__``, not yet ``setup``."""
        if self._class is None:
            return Model(self, self._target, self._target, instance=None)
        instance = self._target() if self._target is self._class else self._target
        call = getattr(instance, self._method)
        together = getattr(instance, self._batch_method) if self._batch_method else call
        return Model(self, call, together, instance=instance)

    def bind(self, values: Dict[str, Any], fetched: Collection[str]) -> Bound:
        """Turn checked JSON inputs into keyword arguments; ``fetched`` are the paths among them that the server put there."""
        if self.takes_lists:
            values = {name: [value] for name, value in values.items()}
        return bind(self._parameters, values, fetched=fetched)


class Model:
    """An entry point that has been created.

    Attributes:
        entry_point: What it was created from.
        call: Runs a prediction.
    """

    def __init__(self, entry_point: EntryPoint, call: Callable[..., Any], together: Callable[..., Any], *, instance: Any) -> None:
        self.entry_point = entry_point
        self.call = call
        self._together = together
        self._instance = instance

    def call_together(self, arguments: Sequence[Dict[str, Any]]) -> Any:
        """Run several predictions with one call: a list of inputs in, a list of results out."""
        if self.entry_point.takes_lists:
            names = {name: None for each in arguments for name in each}
            return self._together(**{name: [item for each in arguments for item in each[name]] for name in names})
        return self._together(list(arguments))

    @property
    def setup(self) -> Optional[Callable[..., Any]]:
        """The author's ``setup``, ready to be called, if there is one."""
        setup = getattr(self._instance, "setup", None)
        return setup if callable(setup) else None

    @property
    def healthcheck(self) -> Optional[Callable[[], Any]]:
        """The author's ``healthcheck``, if there is one."""
        healthcheck = getattr(self._instance, "healthcheck", None)
        return healthcheck if callable(healthcheck) else None


def find_entry_point(module: ModuleType, name: str, *, mode: str, takes_lists: bool = False) -> EntryPoint:
    """Find ``name`` in an imported module.

    Raises:
        LoadError: It is not there, or is not something that can run.
    """
    if not hasattr(module, name):
        there = sorted(key for key, value in vars(module).items() if _is_own(value, module))
        raise LoadError("'%s' has no '%s' (it has %s)" % (module.__file__, name, ", ".join(there) or "no class or function"))
    return EntryPoint(getattr(module, name), mode=mode, takes_lists=takes_lists)


def _is_own(value: Any, module: ModuleType) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__


def _class_of(target: Any, mode: str) -> Optional[type]:
    """The class that has the method to call: the target, or that of an instance which the author made; functions have none."""
    if inspect.isclass(target):
        return target
    methods = ("train",) if mode == "train" else _PREDICT_METHODS
    return type(target) if any(callable(getattr(type(target), method, None)) for method in methods) else None


def _method_of(cls: type, mode: str) -> str:
    if mode == "train":
        if not callable(getattr(cls, "train", None)):
            raise LoadError("class '%s' has no 'train' method" % cls.__name__)
        return "train"
    written = [name for name in _PREDICT_METHODS if any(name in vars(base) for base in _authors_classes(cls))]
    if not written:
        raise LoadError("class '%s' has neither a 'predict' nor a 'run' method" % cls.__name__)
    return written[0]


def _batch_method_of(cls: type) -> Optional[str]:
    return "predict_batch" if callable(getattr(cls, "predict_batch", None)) else None


def one_of_each(description: Dict[str, Any]) -> Dict[str, Any]:
    """The signature of one prediction, for code that takes the inputs of several as lists and returns a list of results.

    Raises:
        LoadError: An input or the output is not a list.
    """
    inputs = []
    for field in description["inputs"]:
        if field["type"]["kind"] != "list":
            raise LoadError(
                "with 'concurrency.batch' every input must be a list, with an item for each prediction; '%s' is not" % field["name"]
            )
        default = field.get("default")
        one = {**field, "type": field["type"]["items"]}
        if isinstance(default, list):
            one["default"] = default[0] if default else None
        inputs.append(one)
    if description["output"]["kind"] not in ("list", "any"):
        raise LoadError("with 'concurrency.batch' the output must be a list, with an item for each prediction")
    return {**description, "inputs": inputs, "output": description["output"].get("items", {"kind": "any"})}


def _authors_classes(cls: type) -> Any:
    return (base for base in cls.__mro__ if base is not object and base.__module__.split(".")[0] != "cog")


def _plain_function(cls: type, method: str) -> Callable[..., Any]:
    function = inspect.getattr_static(cls, method)
    if isinstance(function, (staticmethod, classmethod)):
        return function.__func__
    return function  # type: ignore[no-any-return] # found by name in an author's class


def setup_arguments(setup: Callable[..., Any]) -> Dict[str, Any]:
    """What to call ``setup`` with: nothing, or ``weights`` when it has a parameter of that name.

    The value is the environment variable ``COG_WEIGHTS`` as the annotation asks for it (``File``, ``Path`` or ``str``); without the
    variable, a ``weights`` file or directory in the project for ``File`` and ``Path``; else ``None``.
    """
    parameter = inspect.signature(setup).parameters.get("weights")
    if parameter is None:
        return {}
    return {"weights": open_weights(setup, os.environ.get("COG_WEIGHTS") or None)}
