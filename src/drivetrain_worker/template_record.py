"""What a project imports, and under which environment variables: recorded in one worker, done ahead in a template.

Libraries read variables when they are imported (``HF_HOME``, ``OMP_NUM_THREADS``), and authors set them in their code just before
an import. So the record is a journal: imports and changes of variables, in the order they happened. A template goes through it in
that order, and each library sees what it would have seen. Whether the project still changes the variables in that way is seen when
its code has been loaded in a fork: all changes taken together must be those of the record.

Only libraries count, not the project's own files: these are loaded in each worker, as they are then.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

Changes = Dict[str, Optional[str]]

#: How the journal is encoded: ``["import", name, origin]`` and ``["set", name, value or None]``.
Journal = List[List[Any]]


class ImportRecorder:
    """Sees every import that is not yet done, as the first of Python's finders; finds nothing itself.

    Args:
        root: The project's directory.
    """

    def __init__(self, root: str) -> None:
        self._roots = spellings(root)
        self._journal: Journal = []
        self._before = dict(os.environ)
        self._seen = dict(self._before)
        self._encoded = _encoded().copy()
        self._changes: Changes = {}
        self._is_loading = True
        self._is_over = False

    def begin(self) -> None:
        """Record from now on."""
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        """Called by Python for each module that it is about to look for."""
        self._note_changes()
        if not self._is_over:
            self._journal.append(["import", name, None])

    def loaded(self) -> None:
        """The project's code has been loaded. From now on a change of variables ends the record.

        What set-up changes could not be compared in a fork before set-up has run there, which is too late.
        """
        self._note_changes()
        self._changes = difference(self._before, os.environ)
        self._is_loading = False

    def end(self) -> None:
        """Stop recording. May be called twice."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def report(self) -> Dict[str, Any]:
        """What was recorded, as the frame ``imported`` carries it."""
        journal = [entry for entry in map(self._complete, self._journal) if entry is not None]
        return {"journal": journal, "changes": self._changes, "paths": self._paths()}

    def _note_changes(self) -> None:
        if _encoded() == self._encoded:
            return
        self._encoded = _encoded().copy()
        now = dict(os.environ)
        if self._is_loading:
            self._journal.extend(["set", name, value] for name, value in difference(self._seen, now).items())
        else:
            self._is_over = True
        self._seen = now

    def _complete(self, entry: List[Any]) -> Optional[List[Any]]:
        """The entry as the template needs it; none for modules that are not there, or are the project's own."""
        kind, name, _ = entry
        if kind != "import":
            return entry
        module = sys.modules.get(name)
        if module is None or name.partition(".")[0] == "drivetrain_worker" or is_own(module, self._roots):
            return None
        return ["import", name, origin_of(module)]

    def _paths(self) -> List[str]:
        """Where libraries were looked for: when one of these directories changes, so may what is in them."""
        return [path for path in sys.path if os.path.isdir(path) and not (path + os.sep).startswith(tuple(self._roots))]


def _encoded() -> Any:
    """The variables as Python keeps them. Comparing these takes a hundredth of the time, and it is done at every import."""
    return os.environ._data  # type: ignore[attr-defined] # noqa: SLF001 (as above)


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """What turns one set of variables into the other."""
    changes: Changes = {name: value for name, value in after.items() if before.get(name) != value}
    changes.update((name, None) for name in before if name not in after)
    return changes


def apply(changes: Mapping[str, Optional[str]], variables: Any) -> None:
    """Carry changes out."""
    for name, value in changes.items():
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = value


def origin_of(module: Any) -> Optional[str]:
    """The file a module came from, if it came from one."""
    origin = getattr(module, "__file__", None)
    return origin if isinstance(origin, str) else None


def is_own(module: Any, roots: Sequence[str]) -> bool:
    """Whether a module is a file of the project; what is installed in an environment that stands in the project is not.

    Args:
        module: Any module.
        roots: From ``spellings``.
    """
    origin = origin_of(module)
    if origin is None or not origin.startswith(tuple(roots)):
        return False
    prefixes = [prefix + os.sep for prefix in (sys.prefix, sys.base_prefix)]
    return not any(prefix.startswith(tuple(roots)) and origin.startswith(prefix) for prefix in prefixes)


def spellings(directory: str) -> List[str]:
    """How the paths of what is in a directory may begin: as it is named, and with its links resolved."""
    return [directory.rstrip(os.sep) + os.sep, os.path.realpath(directory) + os.sep]


class ImportReplay:
    """Goes through a journal ahead of the project's own code.

    Attributes:
        kept: What the libraries themselves have changed in the variables.

    Args:
        root: The project's directory.
        journal: As recorded.
    """

    def __init__(self, root: str, journal: Journal) -> None:
        self.kept: Changes = {}
        self._roots = spellings(root)
        self._journal = journal

    def run(self, check: Callable[[str], Optional[str]]) -> Optional[str]:
        """Import what can be imported, and put the variables back; why the result must not be used, or ``None``.

        Args:
            check: Called after each import with the module's name; what it returns ends the replay.
        """
        import importlib

        before = dict(os.environ)
        for kind, name, value in self._journal:
            if kind == "set":
                apply({name: value}, os.environ)
                continue
            if name in sys.modules:
                continue
            encoded = _encoded().copy()
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: BLE001, S110 (whatever keeps a module from being imported, the project will meet it itself)
                pass
            if _encoded() != encoded:
                ahead = {os.fsdecode(name): os.fsdecode(value) for name, value in encoded.items()}
                self.kept.update(difference(ahead, os.environ))
            reason = check(name)
            if reason is not None:
                return reason
        apply(difference(os.environ, before), os.environ)
        return self._find_strays()

    def _find_strays(self) -> Optional[str]:
        for kind, name, origin in self._journal:
            module = sys.modules.get(name) if kind == "import" else None
            if module is not None and origin_of(module) != origin:
                return "'%s' is imported from '%s' in the project, and from '%s' before it" % (name, origin, origin_of(module))
        for name, module in list(sys.modules.items()):
            if is_own(module, self._roots):
                return "a library imports the project's own '%s'" % name
        return None
