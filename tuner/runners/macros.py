"""Placeholders in a command: `${param}`, what a trial knows about itself, and the macros of W&B.

| placeholder | becomes |
|---|---|
| `${name}`, `${name[2]}`, `${name[key]}` | the parameter's value, or one entry of it; lists and mappings as JSON |
| `${trial.dir}` `${trial.number}` `${seed}` `${fidelity}` `${gpu.ids}` | the trial's own; GPU UUIDs joined by commas |
| `${env}` `${interpreter}` `${program}` | `/usr/bin/env`, the running Python, the sweep file's `program` |
| `${args}` `${args_no_equals}` `${args_no_hyphens}` | `--a=1`; `--a 1`; `a=1`, an argument a parameter |
| `${args_no_boolean_flags}` | as `${args}`, but `--flag` for True and nothing for False |
| `${args_append_hydra}` `${args_override_hydra}` | `+a=1`; `++a=1` |
| `${args_json}` `${args_json_file}` | one argument: the configuration as JSON; the path of a file that holds it |
| `${envvar:NAME}` | the environment variable; NAME itself when it is not set, as W&B does |
| `$${` | a literal `${` |

The list macros write numbers, strings and booleans as Python prints them, as W&B does, lists and mappings as JSON.
An inactive parameter leaves no trace: the argument that names it is dropped, and so is the option before it (`--beta2`
in `--beta2 ${beta2}`). `${fidelity}` without a fidelity and `${gpu.ids}` without a GPU are treated likewise.

When tuner runs in a virtual environment, its programs come first on the PATH of trials, activated or not: `python` in a
command is the Python that runs tuner.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tuner.errors import UsageError
from tuner.trial import Config

_PLACEHOLDER = re.compile(r"\$?\$\{([^{}]*)\}")
_ENTRY = re.compile(r"(.+)\[([^\[\]]+)\]")
_OWN = ("trial.dir", "trial.number", "seed", "fidelity", "gpu.ids")
_LISTS = (
    "args",
    "args_no_equals",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_append_hydra",
    "args_override_hydra",
)
_SCALARS = ("env", "interpreter", "program", "args_json", "args_json_file")
MACROS: tuple[str, ...] = _LISTS + _SCALARS + _OWN


def value_text(value: object) -> str:
    """A parameter's value as one argument: strings as they are, everything else as JSON (`true`, `[1, 2]`)."""
    return value if isinstance(value, str) else json.dumps(value)


def _list_text(value: object) -> str:
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def placeholders(template: Sequence[str]) -> set[str]:
    """The names in the placeholders of a command, without `envvar:` and without the entry's `[...]`."""
    found = set()
    for argument in template:
        for match in _PLACEHOLDER.finditer(argument):
            if not match[0].startswith("$$") and not match[1].startswith("envvar:"):
                entry = _ENTRY.fullmatch(match[1])
                found.add(entry[1] if entry else match[1])
    return found


def expand_command(
    template: Sequence[str],
    config: Config,
    *,
    names: Collection[str] | None = None,
    dir: Path = Path(),
    trial: int = 0,
    seed: int = 0,
    fidelity: float | None = None,
    gpu_ids: Sequence[str] = (),
    program: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """The argument list of a trial.

    Args:
        template: The command with its placeholders.
        config: Active parameters and their values.
        names: Every declared parameter, active or not; None when the placeholders were checked before: what has no
            value is inactive then.
        dir: The trial's folder.
        trial: Its number.
        seed: Its seed.
        fidelity: How much to spend; None for all of it.
        gpu_ids: The leased GPUs' UUIDs.
        program: What `${program}` stands for.
        environ: Where `${envvar:NAME}` looks; the tuner's own environment when None.

    Raises:
        UsageError: A placeholder names neither a parameter nor a macro; the message has the nearest name.
    """
    own = _own(dir, trial, seed, fidelity, gpu_ids)
    scalars = _scalars(config, dir, program)
    expansion = _Expansion(config, names, own, scalars, os.environ if environ is None else environ)
    found: list[str] = []
    kept: list[bool] = []  # whether the argument before is a literal option, which may go with its value
    for argument in template:
        whole = _PLACEHOLDER.fullmatch(argument)
        if whole and whole[1] in _LISTS and not argument.startswith("$$"):
            new: list[str] | None = expansion.arguments(whole[1])
        else:
            text = expansion.text(argument)
            new = None if text is None else [text]
        if new is None:
            if whole and kept and kept[-1]:
                found.pop()
                kept.pop()
            continue
        found += new
        kept += [argument.startswith("-") and "=" not in argument and "${" not in argument] * len(new)
    return found


def _own(dir: Path, trial: int, seed: int, fidelity: float | None, gpu_ids: Sequence[str]) -> dict[str, object]:
    """What a trial knows of itself; None where it has no value."""
    if fidelity is not None and float(fidelity).is_integer():
        fidelity = int(fidelity)
    return {
        "trial.dir": str(dir),
        "trial.number": trial,
        "seed": seed,
        "fidelity": fidelity,
        "gpu.ids": ",".join(gpu_ids) or None,
    }


def _scalars(config: Config, dir: Path, program: str | None) -> dict[str, str | None]:
    """The macros of W&B that are one argument."""
    return {
        "env": "/usr/bin/env",
        "interpreter": sys.executable,
        "program": program,
        "args_json": json.dumps(config),
        "args_json_file": str(dir / "params.json"),
    }


_NOTHING = object()


class _Inactive(Exception):  # noqa: N818 - a signal, not an error
    """The argument names a parameter that has no value in this trial."""


class _Expansion:
    def __init__(
        self,
        config: Config,
        names: Collection[str] | None,
        own: Mapping[str, object],
        scalars: Mapping[str, str | None],
        environ: Mapping[str, str],
    ) -> None:
        self._config = config
        self._names = None if names is None else {*names, *config}
        self._own = own
        self._scalars = scalars
        self._environ = environ

    def text(self, argument: str) -> str | None:
        """The argument with its placeholders filled; None when one of them has no value in this trial."""
        try:
            return _PLACEHOLDER.sub(self._fill, argument)
        except _Inactive:
            return None

    def arguments(self, macro: str) -> list[str]:
        """What W&B puts in the place of one of its list macros; lists and mappings as JSON, which scripts can parse."""
        items = [(name, _list_text(value)) for name, value in self._config.items()]
        if macro == "args_no_equals":
            return [part for name, value in items for part in (f"--{name}", value)]
        if macro == "args_no_boolean_flags":
            return [
                f"--{name}" if self._config[name] is True else f"--{name}={value}"
                for name, value in items
                if self._config[name] is not False
            ]
        prefix = {"args": "--", "args_no_hyphens": "", "args_append_hydra": "+", "args_override_hydra": "++"}[macro]
        return [f"{prefix}{name}={value}" for name, value in items]

    def _fill(self, match: re.Match[str]) -> str:
        name = match[1]
        if match[0].startswith("$$"):
            return match[0][1:]
        if name.startswith("envvar:"):
            variable = name.removeprefix("envvar:")
            return self._environ.get(variable, variable)
        if name in _LISTS:
            return shlex.join(self.arguments(name))
        if name in self._scalars:
            text = self._scalars[name]
            if text is None:
                raise UsageError("${program} needs `program:` in the sweep file; set it or write the file's name")
            return text
        entry = _ENTRY.fullmatch(name)
        if self._declared(name):
            return self._given(self._config.get(name) if name in self._config else _NOTHING)
        if name in self._own:
            return self._given(self._own[name] if self._own[name] is not None else _NOTHING)
        if entry and self._declared(entry[1]):
            return self._entry(entry[1], entry[2])
        if self._names is None:
            raise _Inactive
        raise self._unknown(name, self._names)

    def _declared(self, name: str) -> bool:
        return name in self._config or (self._names is not None and name in self._names)

    def _given(self, value: object) -> str:
        if value is _NOTHING:
            raise _Inactive
        return value_text(value)

    def _entry(self, name: str, key: str) -> str:
        if name not in self._config:
            raise _Inactive
        value = self._config[name]
        try:
            return value_text(value[key.strip("'\"")] if isinstance(value, dict) else value[int(key)])
        except (KeyError, IndexError, ValueError, TypeError):
            raise UsageError(f"${{{name}[{key}]}}: {name!r} has no entry {key!r}; its value is {value!r}") from None

    def _unknown(self, name: str, names: set[str]) -> UsageError:
        near = difflib.get_close_matches(name, [*sorted(names), *MACROS], n=1)
        hint = f"did you mean ${{{near[0]}}}?" if near else f"parameters: {', '.join(sorted(names)) or 'none'};"
        return UsageError(
            f"${{{name}}} names neither a parameter nor a macro; {hint} "
            f"(${{envvar:NAME}} is an environment variable, $${{ a literal ${{)"
        )
