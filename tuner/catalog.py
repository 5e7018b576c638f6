"""Content and plug-ins by name: the one door through which the machinery reaches strategies, objectives and spaces.

A name is a file name: `tuner/strategies/bayesian/gp.py` is the strategy `gp` because it defines `build`. Third parties
use an entry point in the group of the kind (`tuner.strategies`, `tuner.objectives`, `tuner.search_spaces`) that names
their module; it goes through the same loader. Nothing is imported until it is asked for.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from tuner.errors import UnknownNameError

Kind = Literal["strategies", "objectives", "search_spaces", "kernels", "stopping"]
KINDS: tuple[Kind, ...] = ("strategies", "objectives", "search_spaces", "kernels", "stopping")

_ENTRY: Mapping[Kind, str] = {
    "strategies": "build",
    "objectives": "build",
    "search_spaces": "spaces",
    "kernels": "build",
    "stopping": "build",
}
"""The function that makes a module an entry of its kind."""


@functools.cache
def _modules(kind: Kind) -> Mapping[str, str]:
    """Entry name -> module, of the folder `tuner.<kind>` and of installed entry points (which never shadow ours)."""
    found: dict[str, str] = {point.name: point.value for point in entry_points(group=f"tuner.{kind}")}
    try:
        package = importlib.import_module(f"tuner.{kind}")
    except ModuleNotFoundError:
        return found
    defines = re.compile(rf"^def {_ENTRY[kind]}\(", re.MULTILINE)
    for root in map(Path, package.__path__):
        for file in sorted(root.rglob("*.py")):
            if defines.search(file.read_text(encoding="utf-8")):
                path = ".".join(file.relative_to(root).with_suffix("").parts)
                found[file.stem.replace("_", "-")] = f"tuner.{kind}.{path}"
    return found


def names(kind: Kind) -> list[str]:
    """The known names of a kind, sorted."""
    return sorted(_modules(kind))


def summaries(kind: Kind) -> dict[str, str]:
    """Name -> what it is, from the first line of its module's docstring ("name: what it is"); nothing is run."""
    found = {}
    for name in names(kind):
        spec = importlib.util.find_spec(_modules(kind)[name])
        text = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin else ""
        doc = ast.get_docstring(ast.parse(text)) or ""
        first = doc.partition("\n\n")[0].replace("\n", " ")
        found[name] = first.removeprefix(f"{name}: ").removesuffix(".")
    return found


def dotted(kind: Kind, name: str) -> str:
    """The dotted path of the module that a name stands for; nothing is imported.

    Raises:
        UnknownNameError: There is no such name; the message lists the known ones, the nearest first.
    """
    modules = _modules(kind)
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(modules)) or "none"
        raise UnknownNameError(f"{kind}: no entry is called {name!r}{hint} (known: {known})")
    return modules[name]


def load(kind: Kind, name: str) -> ModuleType:
    """The module that a name stands for.

    Raises:
        UnknownNameError: There is no such name.
    """
    return importlib.import_module(dotted(kind, name))


def entry(kind: Kind, name: str) -> Callable[..., object]:
    """The entry function (`build` or `spaces`) of the module that a name stands for."""
    function: Callable[..., object] = getattr(load(kind, name), _ENTRY[kind])
    return function
