"""Finds a provider's class by what a user writes: `module:Class`, `file.py:Class` or the name of an entry point.

Installed packages offer providers as entry points of the group `tunflow.providers`. Errors are one line that names
where the user wrote it, and for a module that fails, its file and line.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tunflow.errors import LocalError
from tunflow.paths import parse_path
from tunflow.providers.blame import describe
from tunflow.providers.provider import Provider

GROUP = "tunflow.providers"
_ACCEPTED = "expected module:Class, path/to/file.py:Class or the name of an installed provider"


def load_provider(spec: str, *, where: str, kind: type[Provider] = Provider) -> type[Provider]:
    """The class that `spec` names; it must be a `kind`. `where` is what an error starts with. Raises LocalError."""
    target, separator, name = spec.rpartition(":")
    if not separator:
        return _checked(_from_entry_point(spec, where), spec, where, kind)
    if not target or not name:
        raise LocalError(f"{where}: provider {spec!r}: {_ACCEPTED}")
    module = _module(target, where)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise LocalError(f"{where}: {_file(module)} has no class {name!r}{_offer(module, kind)}")
        found = getattr(found, part)
    return _checked(found, spec, where, kind)


def _checked(found: object, spec: str, where: str, kind: type[Provider]) -> type[Provider]:
    if not isinstance(found, type) or not issubclass(found, kind):
        wanted = "a provider: a subclass of one in tunflow.providers" if kind is Provider else f"a {kind.__name__}"
        raise LocalError(f"{where}: {spec!r} is not {wanted}")
    return found


def _from_entry_point(name: str, where: str) -> object:
    from importlib.metadata import entry_points  # noqa: PLC0415 - it brings email, csv and zipfile

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        installed = f"; installed: {', '.join(sorted(found))}" if found else ""
        raise LocalError(f"{where}: no provider {name!r}: {_ACCEPTED}{installed}")
    try:
        return found[name].load()
    except Exception as error:
        raise LocalError(
            f"{where}: provider {name!r} ({found[name].value}) does not import: {describe(error)}"
        ) from error


def _module(target: str, where: str) -> ModuleType:
    if target.endswith(".py"):
        return _from_file(parse_path(target).absolute(), where)
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name is not None and (target == error.name or target.startswith(error.name + ".")):
            raise LocalError(f"{where}: there is no module {target!r}: {_ACCEPTED}") from None
        raise LocalError(f"{where}: module {target!r} does not import: {describe(error)}") from error
    except Exception as error:
        raise LocalError(f"{where}: module {target!r} does not import: {describe(error)}") from error


def _from_file(path: Path, where: str) -> ModuleType:
    """The module in a file; it finds its neighbours, as a script does."""
    try:
        is_file = path.is_file()
    except OSError as error:
        raise LocalError(f"{where}: cannot look at {path}: {error.strerror}") from None
    if not is_file:
        raise LocalError(f"{where}: there is no file {path}: {_ACCEPTED}")
    loaded = sys.modules.get(path.stem)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules.setdefault(path.stem, module)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        if sys.modules.get(path.stem) is module:
            del sys.modules[path.stem]
        raise LocalError(f"{where}: {path} does not import: {describe(error)}") from error
    return module


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _offer(module: ModuleType, kind: type[Provider]) -> str:
    offered = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__
    ]
    return f"; it has {', '.join(offered)}" if offered else ""
