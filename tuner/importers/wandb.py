"""W&B sweeps: read as they are, beside native keys.

| W&B | here |
|---|---|
| `program`, `command` | `command`, with `${program}` filled in; the other macros stay, the runner knows them |
| `method: random, grid, bayes` | `search: random, grid, auto` |
| `metric`, `metrics` (a list) | `metrics`; `target` becomes `budget.target` |
| `run_cap` | `budget.trials` |
| `early_terminate: hyperband` | `early_stop: asha` |
| `parameters` with `distribution`, or nested | ranges, values, priors (`tuner.importers.distributions`); dotted names |

A native key stands as it is and wins over what W&B says. What differs in effect is said in one line each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tuner.importers import distributions as dist
from tuner.sweeps.findings import Findings, Path, nearest, quote, unknown

_FOREIGN_KEYS = ("program", "method", "metric", "early_terminate", "run_cap", "scheduler", "controller")
_ENTRY_KEYS = ("distribution", "parameters", "q", "mu", "sigma", "a", "b", "probabilities")
_IGNORED = {
    "project": "belongs to the W&B server",
    "entity": "belongs to the W&B server",
    "description": "is not kept; write a comment",
    "controller": "is not needed: the sweep runs here",
    "scheduler": "is not needed: the sweep runs here",
    "settings": "belongs to the W&B server",
    "job": "belongs to W&B Launch",
    "image_uri": "belongs to W&B Launch",
    "launch": "belongs to W&B Launch",
    "prior_runs": "is not read; import the old study instead",
}
DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


def is_wandb(data: Mapping[str, Any]) -> bool:
    """Return whether the top of a sweep file has anything that only W&B sweeps have."""
    if data.get("objective") is not None:
        return False
    if any(key in data for key in _FOREIGN_KEYS) or isinstance(data.get("metrics"), list):
        return True
    parameters = data.get("parameters")
    return isinstance(parameters, Mapping) and any(
        isinstance(entry, Mapping) and any(key in entry for key in _ENTRY_KEYS) for entry in parameters.values()
    )


def translate(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the native form and one line for each thing that W&B would do differently.

    Raises:
        SweepError: All that has no meaning, by W&B's own paths.
    """
    translation = _Translation(dict(data))
    for step in (_command, _search, _metrics, _run_cap, _early_stop, _parameters):
        step(translation)
    for key in [key for key in translation.rest if key in _IGNORED]:
        del translation.rest[key]
        translation.notes.append(f"{key} {_IGNORED[key]}")
    _name(translation)
    translation.findings.raise_if_any()
    return _merged(translation.native, translation.rest, translation.notes), translation.notes


class _Translation:
    """What is left of the W&B file, the native form so far, notes and findings."""

    def __init__(self, rest: dict[str, Any]) -> None:
        self.rest = rest
        self.native: dict[str, Any] = {}
        self.notes: list[str] = []
        self.findings = Findings()

    def take(self, key: str) -> Any:
        return self.rest.pop(key, None)


def _merged(native: dict[str, Any], rest: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the translation with native keys laid over it."""
    result = dict(native)
    for key, value in rest.items():
        both = result.get(key)
        if isinstance(both, dict) and isinstance(value, Mapping):
            notes.extend(f"{key}.{name} replaces what W&B's keys say" for name in value if name in both)
            result[key] = {**both, **value}
        else:
            result[key] = value
    return result


def _name(t: _Translation) -> None:
    from tuner.sweep import slug

    name = t.rest.get("name")
    if isinstance(name, str) and slug(name) != name:
        t.rest["name"] = slug(name)
        t.notes.append(f"name {quote(name)} becomes {t.rest['name']}, a folder's name")


def _command(t: _Translation) -> None:
    program = t.take("program")
    if program is not None and not (isinstance(program, str) and program.strip()):
        t.findings.add(("program",), f"must be a file, but got {quote(program)}; write for example train.py")
        program = "program"
    command = t.rest.get("command")
    if command is None:
        if program is None:
            t.findings.add((), "a W&B sweep must have program or command, but has neither; add program: train.py")
            return
        command = list(DEFAULT_COMMAND)
    if program is not None and isinstance(command, list):
        command = [word.replace("${program}", program) if isinstance(word, str) else word for word in command]
    t.rest["command"] = command


_METHODS = {"random": "random", "grid": "grid", "bayes": "auto", "custom": "auto"}


def _search(t: _Translation) -> None:
    if "method" not in t.rest:
        return
    method = t.take("method")
    if not isinstance(method, str) or method not in _METHODS:
        hint = nearest(str(method), _METHODS)
        t.findings.add(("method",), f"must be random, grid or bayes, but got {quote(method)}; {hint}")
        return
    t.native["search"] = {"method": _METHODS[method]}
    if _METHODS[method] == "auto":
        t.notes.append(f"method {method} becomes search auto, which chooses by what it sees; search: gp is the nearest")
    if method == "random" and "run_cap" not in t.rest and not t.rest.get("budget"):
        t.notes.append("method random without run_cap runs until it is stopped, as at W&B; add budget: {trials: 100}")


def _metrics(t: _Translation) -> None:
    entries: list[tuple[Path, Any]] = []
    if "metric" in t.rest:
        entries.append((("metric",), t.take("metric")))
    if isinstance(t.rest.get("metrics"), list):
        entries.extend((("metrics", index), entry) for index, entry in enumerate(t.take("metrics")))
    for path, entry in entries:
        _metric(t, path, entry)
    if not entries and not t.rest.get("metrics"):
        t.findings.add(("metric",), "a metric must be named, but none is; add metric: {name: loss, goal: minimize}")


def _metric(t: _Translation, path: Path, entry: Any) -> None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        t.findings.add(path, f"must be {{name: ..., goal: ...}}, but got {quote(entry)}; add the metric's name")
        return
    for key in entry:
        if key in ("impute", "impute_while_running"):
            t.notes.append(f"{key} is not needed: a failed trial counts as failed, never as a made-up number")
        elif key not in ("name", "goal", "target"):
            t.findings.add((*path, key), unknown("key", str(key), ("name", "goal", "target")))
    goal = entry.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        t.findings.add((*path, "goal"), f"must be minimize or maximize, but got {quote(goal)}; choose one")
        return
    t.native.setdefault("metrics", {})[entry["name"]] = {"goal": goal}
    target = entry.get("target")
    if target is not None:
        t.native.setdefault("budget", {}).setdefault("target", {})[entry["name"]] = target


def _run_cap(t: _Translation) -> None:
    if "run_cap" in t.rest:
        cap = t.take("run_cap")
        if not isinstance(cap, int) or isinstance(cap, bool) or cap < 1:
            t.findings.add(("run_cap",), f"must be a whole number of at least 1, but got {quote(cap)}; correct it")
            return
        t.native.setdefault("budget", {})["trials"] = cap


def _early_stop(t: _Translation) -> None:
    if "early_terminate" not in t.rest:
        return
    rule = t.take("early_terminate")
    path: Path = ("early_terminate",)
    if not isinstance(rule, Mapping) or rule.get("type") != "hyperband":
        t.findings.add(path, f"must be {{type: hyperband, ...}}, but got {quote(rule)}; or write early_stop:")
        return
    known = ("type", "min_iter", "max_iter", "s", "eta", "strict")
    for key, value in rule.items():
        if key not in known:
            t.findings.add((*path, key), unknown("key", str(key), known))
        elif key not in ("type", "strict") and not (_is_number(value) and (0 if key == "s" else 1) <= value < 1e15):
            t.findings.add((*path, key), f"must be a number of at least 1, but got {quote(value)}; correct it")
            return
    eta = max(2, round(rule.get("eta", 3)))
    options: dict[str, Any] = {"rule": "asha", "eta": eta}
    if "max_iter" in rule:  # s rungs: max_iter / eta, max_iter / eta**2, ...
        rungs = max(1, min(round(rule.get("s", 1)), 30))
        options |= {"min_steps": max(1, math.floor(rule["max_iter"] / eta**rungs)), "max_rungs": rungs}
    if "min_iter" in rule:
        options["min_steps"] = round(rule["min_iter"])
    if eta != rule.get("eta", 3):
        t.notes.append(f"early_terminate.eta becomes {eta}: a whole number of at least 2")
    t.native["early_stop"] = options
    t.notes.append("early_terminate hyperband becomes early_stop asha, which compares at the same steps")
    if "strict" in rule:
        t.notes.append("early_terminate.strict has no effect here")


# ---- parameters


def _parameters(t: _Translation) -> None:
    entries = t.rest.get("parameters")
    if not isinstance(entries, Mapping):
        return
    flat: dict[str, Any] = {}
    _flatten(t, entries, ("parameters",), "", flat)
    t.rest["parameters"] = flat


def _flatten(t: _Translation, entries: Mapping[str, Any], path: Path, prefix: str, flat: dict[str, Any]) -> None:
    for key, entry in entries.items():
        name, place = prefix + key, (*path, key)
        if isinstance(entry, Mapping) and "parameters" in entry:
            inner = entry["parameters"]
            if not isinstance(inner, Mapping) or len(entry) > 1:
                t.findings.add(place, f"must be {{parameters: {{...}}}} alone, but got {quote(entry)}; correct it")
                continue
            if not prefix:
                t.notes.append(f"{key} is nested: its parameters are called {name}.<name>, and so on the command line")
            _flatten(t, inner, (*place, "parameters"), name + ".", flat)
            continue
        if name in flat:
            t.findings.add(place, f"a parameter must be declared once, but {quote(name)} is declared twice; remove one")
        flat[name] = _entry(t, name, entry, place)


def _entry(t: _Translation, name: str, entry: Any, path: Path) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    kind = entry.get("distribution")
    if kind is None and not any(key in entry for key in _ENTRY_KEYS):
        return _listed(t, name, dict(entry))
    kind = kind if kind is not None else _inferred(entry)
    if not isinstance(kind, str) or kind not in _KINDS:
        t.findings.add((*path, "distribution"), unknown("distribution", str(kind), _KINDS))
        return entry
    needs, optional, build = _KINDS[kind]
    known = {"distribution", "when", "prior", *needs, *optional}
    before = len(t.findings.found)
    for key in entry:
        if key not in known:
            t.findings.add((*path, key), unknown("key", str(key), sorted(known)) + f" (of {kind})")
    for key in needs:
        if key not in entry:
            t.findings.add(path, f'{kind} needs "{key}", but it is missing; add it')
    for key in set(entry) & (set(_NUMBERS) & known):
        if not _is_number(entry[key]):
            t.findings.add((*path, key), f"must be a number, but got {quote(entry[key])}; write it without quotes")
    if len(t.findings.found) > before:
        return entry
    try:
        native = build(entry)
    except (ValueError, OverflowError) as error:
        t.findings.add(path, str(error))
        return entry
    _note(t, name, kind, native)
    return {**_listed(t, name, native), **{key: entry[key] for key in ("when", "prior") if key in entry}}


_NUMBERS = ("min", "max", "q", "mu", "sigma", "a", "b")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _inferred(entry: Mapping[str, Any]) -> str:
    """Return the distribution that W&B infers from the keys."""
    if "values" in entry:
        return "categorical_w_probabilities" if "probabilities" in entry else "categorical"
    if "value" in entry:
        return "constant"
    if "min" in entry or "max" in entry:
        if "q" in entry:
            return "q_uniform"
        whole = all(isinstance(entry.get(key), int) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    if "a" in entry or "b" in entry:
        return "q_beta" if "q" in entry else "beta"
    return "q_normal" if "q" in entry else "normal"


def _listed(t: _Translation, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry with repeated values once, as W&B allows them."""
    values = entry.get("values")
    if not isinstance(values, list):
        return entry
    distinct = {f"{type(value).__name__}:{value!r}": value for value in values}
    if len(distinct) < len(values):
        t.notes.append(f"{name}: repeated values stand once; say with a prior which is likelier")
    return {**entry, "values": list(distinct.values())}


def _note(t: _Translation, name: str, kind: str, native: Mapping[str, Any]) -> None:
    span = f"the range {native['min']:g} to {native['max']:g}" if "min" in native else f"{native.get('value')}"
    if "normal" in kind or "beta" in kind:
        t.notes.append(f"{name}: {kind} becomes {span} with a prior")
    elif kind in ("log_uniform", "q_log_uniform", "inv_log_uniform"):
        t.notes.append(f"{name}: {kind} takes exponents of e, which gives {span}")
    elif kind == "categorical_w_probabilities":
        t.notes.append(f"{name}: probabilities become a prior at the likeliest value")


def _weighted(entry: Mapping[str, Any]) -> dict[str, Any]:
    values, weights = entry["values"], entry["probabilities"]
    if not isinstance(values, list) or not isinstance(weights, list) or len(values) != len(weights) or not values:
        raise ValueError("probabilities must be one number for each of the values; correct them")
    if not all(_is_number(weight) and weight >= 0 for weight in weights) or not sum(weights) > 0:
        raise ValueError("probabilities must be numbers of at least 0, not all 0; correct them")
    possible = [value for value, weight in zip(values, weights, strict=True) if weight > 0]
    likeliest = values[max(range(len(values)), key=weights.__getitem__)]
    return {"values": possible, "prior": {"at": likeliest, "confidence": "low"}}


def _whole(entry: Mapping[str, Any]) -> dict[str, Any]:
    low, high = entry["min"], entry["max"]
    if not all(float(bound).is_integer() for bound in (low, high)):
        raise ValueError(f"int_uniform needs whole bounds, but got min={low}, max={high}; write distribution: uniform")
    if low == high:
        return {"value": int(low)}
    return {"min": int(low), "max": int(high), "type": "int"}


def _range(log: bool = False, step: bool = False, exponents: bool = False, inverse: bool = False) -> _Build:
    def build(entry: Mapping[str, Any]) -> dict[str, Any]:
        low, high = entry["min"], entry["max"]
        if not low <= high:
            raise ValueError(f"min <= max must hold, but got min={low}, max={high}; swap them")
        if inverse:  # log(1/x) is uniform from min to max
            low, high = -high, -low
        if exponents:
            low, high = dist.exp(low), dist.exp(high)
        return dist.uniform(low, high, log=log, step=entry.get("q", 1) if step else None)

    return build


def _gaussian(build: Callable[..., dict[str, Any]], step: bool = False) -> _Build:
    return lambda entry: build(
        entry.get("mu", 0), entry.get("sigma", 1), **({"step": entry.get("q", 1)} if step else {})
    )


_Build = Callable[[Mapping[str, Any]], dict[str, Any]]
_MIN_MAX = ("min", "max")
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], _Build]] = {
    "constant": (("value",), (), lambda entry: {"value": entry["value"]}),
    "categorical": (("values",), (), lambda entry: {"values": entry["values"]}),
    "categorical_w_probabilities": (("values", "probabilities"), (), _weighted),
    "int_uniform": (_MIN_MAX, (), _whole),
    "uniform": (_MIN_MAX, (), _range()),
    "q_uniform": (_MIN_MAX, ("q",), _range(step=True)),
    "log_uniform": (_MIN_MAX, (), _range(log=True, exponents=True)),
    "log_uniform_values": (_MIN_MAX, (), _range(log=True)),
    "q_log_uniform": (_MIN_MAX, ("q",), _range(log=True, step=True, exponents=True)),
    "q_log_uniform_values": (_MIN_MAX, ("q",), _range(log=True, step=True)),
    "inv_log_uniform": (_MIN_MAX, (), _range(log=True, exponents=True, inverse=True)),
    "inv_log_uniform_values": (_MIN_MAX, (), _range(log=True)),
    "normal": ((), ("mu", "sigma"), _gaussian(dist.normal)),
    "q_normal": ((), ("mu", "sigma", "q"), _gaussian(dist.normal, step=True)),
    "log_normal": ((), ("mu", "sigma"), _gaussian(dist.log_normal)),
    "q_log_normal": ((), ("mu", "sigma", "q"), _gaussian(dist.log_normal, step=True)),
    "beta": ((), ("a", "b"), lambda entry: dist.beta(entry.get("a", 1), entry.get("b", 1))),
    "q_beta": ((), ("a", "b", "q"), lambda e: dist.beta(e.get("a", 1), e.get("b", 1), step=e.get("q", 1))),
}
"""Distribution -> needed keys, optional keys, and what builds the native entry."""
