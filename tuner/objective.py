"""Loading what is evaluated: a built-in by name, `package.module:function`, or a Python callable."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import catalog
from tuner.errors import ObjectiveError, TunerError, UnknownNameError

if TYPE_CHECKING:
    from tuner.sweep import Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveRef:
    """Enough to load an objective in another process.

    Attributes:
        name: A catalog name, or "package.module:attribute".
        options: Keyword arguments of the objective.
        folder: Put on the import path first: where the sweep file lies.
        function: A callable handed over directly; it must be importable where the workers are.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    function: Callable[..., Any] | None = None


def load_objective(ref: ObjectiveRef) -> Any:
    """The objective: something callable, or with an `evaluate` method.

    Raises:
        UnknownNameError: No built-in has this name.
        ObjectiveError: The module cannot be imported, or what it holds cannot be called.
    """
    if ref.function is not None:
        return ref.function
    if ":" not in ref.name:
        return _checked(_built_in(ref.name)(**ref.options), ref.name)
    module_name, _, attribute = ref.name.partition(":")
    if module_name.endswith(".py"):
        plain = module_name.removesuffix(".py").replace("/", ".")
        raise ObjectiveError(f"objective {ref.name!r}: a module is named without .py; write {plain}:{attribute}")
    if ref.folder is not None:
        _look_first(ref.folder, module_name.partition(".")[0])
    try:
        module = importlib.import_module(module_name)
    except TunerError:
        raise
    except Exception as error:
        raise ObjectiveError(f"objective {ref.name!r}: importing {module_name!r} failed: {_told(error)}") from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, [name for name in vars(module) if not name.startswith("_")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ObjectiveError(f"objective {ref.name!r}: {module.__file__} has no {attribute!r}{hint}")
    found = getattr(module, attribute)
    if inspect.isclass(found):
        return _checked(found(**ref.options), ref.name)
    return _checked(functools.partial(found, **ref.options) if ref.options else found, ref.name)


def _look_first(folder: Path, name: str) -> None:
    """Put a folder first on the import path, and forget a module of this name from elsewhere if the folder has its own.

    Two checkouts of one project hold modules of the same names.
    """
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    file = getattr(sys.modules.get(name), "__file__", None)
    own = [path.resolve() for path in (folder / f"{name}.py", folder / name / "__init__.py") if path.is_file()]
    if file is not None and own and Path(file).resolve() not in own:
        for loaded in [entry for entry in sys.modules if entry == name or entry.startswith(f"{name}.")]:
            del sys.modules[loaded]


def _built_in(name: str) -> Any:
    try:
        return catalog.entry("objectives", name)
    except UnknownNameError as error:
        raise UnknownNameError(f'{error}; a Python function is written "package.module:function"') from None


def _told(error: Exception) -> str:
    """What was wrong, and where in the user's code when the traceback knows."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {error}{where}"


def _checked(objective: Any, name: str) -> Any:
    if callable(objective) or hasattr(objective, "evaluate"):
        return objective
    raise ObjectiveError(
        f"objective {name!r} must be callable or have `evaluate`, but it is {type(objective).__name__}"
    )


def reference_of(sweep: Sweep) -> ObjectiveRef | None:
    """How to load a sweep's objective in any process; None when it has none."""
    section = sweep.objective
    if section is None:
        return None
    return ObjectiveRef(name=section.name, options=section.options, folder=sweep.base_dir, function=section.function)


def objective_of(sweep: Sweep) -> Any:
    """The loaded objective of a sweep; None for a command, or when trials are only asked and told."""
    ref = reference_of(sweep)
    return None if ref is None else load_objective(ref)
