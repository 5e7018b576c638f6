"""Sweep files that must be refused: a table by hand, and mutations of a valid sweep drawn from fixed seeds.

`malformed_sweeps()` gives (name, text) pairs. Each text is refused at load, or at the latest when the space is sampled
(some of those whose names hold "infeasible"), and none of them may run anything: where code could hide, it would create
the file that `MARKER` names.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from tuner.sweeps.yaml_source import dump_yaml

MARKER = "malformed-sweep-ran-code"
_CODE = f"__import__('os').system('touch {MARKER}')"

VALID: dict[str, Any] = {
    "name": "valid",
    "command": ["python", "train.py", "${args}"],
    "metrics": {"loss": {"goal": "minimize", "reference": 2.0}, "memory": {"max": 40}},
    "constraints": ["loss <= baseline * 1.1"],
    "parameters": {
        "lr": {"min": 1e-5, "max": 1e-2, "log": True, "prior": {"at": 1e-3}},
        "rank": {"values": [4, 8, 16], "ordered": True},
        "targets": {"subset": ["q", "k", "v"], "min_size": 1},
        "keep": {"vector": 4, "min": 0.1, "max": 1.0, "monotone": "decreasing"},
        "mix": {"simplex": ["web", "code"], "total": 10},
        "order": {"permutation": ["a", "b", "c"]},
        "optim": {"values": ["adamw", "lion"]},
        "beta2": {"min": 0.9, "max": 0.999, "when": "optim == 'adamw'"},
        "epochs": 3,
    },
    "restrictions": ["rank * count(targets) <= 96"],
    "baseline": {"lr": 2e-4, "rank": 16},
    "initial": [{"lr": 1e-4}],
    "search": {"method": "random"},
    "budget": {"trials": 2, "time": "1m", "failures": "30%"},
    "fidelity": {"parameter": "epochs", "min": 1, "max": 9},
    "early_stop": {"rule": "asha"},
    "repeats": {"n": 1},
    "runner": {"cpus": 1, "timeout": "10s", "env": {"A": "1"}},
    "parallel": 1,
    "seed": 0,
}
"""A sweep that loads; everything below is this with something wrong."""


def malformed_sweeps() -> list[tuple[str, str]]:
    """At least 300 named texts, each to be refused with exit code 2 and a message that names a key or a line."""
    found = [*_broken_texts(), *_wrong_entries(), *_wrong_expressions(), *_mutations(), *infeasible_sweeps()]
    return [(f"{number:03d}-{name}", text) for number, (name, text) in enumerate(found)]


def infeasible_sweeps() -> list[tuple[str, str]]:
    """Sweeps whose restrictions no configuration meets."""
    texts = {
        "false": ["1 > 2"],
        "few-values": ["rank > 16"],
        "two-few": ["rank * epochs > 100"],
        "contradiction": ["lr < 1e-4", "lr > 1e-3"],
        "sampled": ["min(keep) > 0.5", "max(keep) < 0.5"],
        "outside": ["lr > 1"],
        "sum": ["sum(keep) > 5"],
        "subset": ["count(targets) > 3"],
        "share": ["mix['web'] + mix['code'] > 10"],
    }
    return [(f"infeasible-{name}", _text(restrictions=texts[name])) for name in texts]


def _text(**changes: Any) -> str:
    return dump_yaml({**VALID, **changes})


# ---- texts that are no YAML, or hostile YAML


def _broken_texts() -> Iterator[tuple[str, str]]:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    merges = "a0: &a0 {x: 1}\n"
    merges += "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 40))
    valid = dump_yaml(VALID)
    texts = {
        "empty": "",
        "blank": "  \n\n",
        "comment": "# nothing\n",
        "null": "null",
        "number": "3",
        "text": "a sweep",
        "list": "- a\n- b\n",
        "tab": "budget:\n\ttrials: 3\n",
        "unclosed-list": "command: [python, train.py\n",
        "unclosed-text": "name: 'x\n",
        "unquoted-placeholder": "command: [python, ${args}]\n",
        "two-colons": "name: a: b\n",
        "bad-indent": "metrics:\n  a: minimize\n b: minimize\n",
        "two-documents": valid + "---\n" + valid,
        "duplicate-key": valid + "seed: 1\n",
        "duplicate-parameter": valid.replace("  rank:", "  lr:"),
        "nul": "name: \0\n",
        "control": "name: \x07\n",
        "surrogate": 'name: "\\ud800"\n',
        "python-tag": f'name: !!python/object/apply:os.system ["touch {MARKER}"]\n',
        "python-name": "name: !!python/name:os.system\n",
        "own-tag": "name: !run x\n",
        "binary": "name: !!binary aGVsbG8=\n",
        "set": "parameters: !!set {a, b}\n",
        "alias-bomb": bomb,
        "alias-bomb-in-place": bomb + f"parameters: {{x: {{values: *a11}}}}\n{valid}",
        "merge-bomb": merges,
        "alias-of-itself": "parameters: &a {x: *a}\n",
        "unknown-alias": "parameters: *nowhere\n",
        "merge-of-a-list": "parameters: {<<: [1, 2]}\n",
        "deep-lists": "initial: " + "[" * 3000 + "]" * 3000,
        "deep-mappings": "baseline: " + "{a: " * 3000 + "1" + "}" * 3000,
        "deep-blocks": "".join(" " * i + "a:\n" for i in range(300)),
        "deep-json": '{"initial": ' + "[" * 3000,
        "wide": "initial: [" + "{}," * 60_000 + "]",
        "long": "name: " + "x" * (1 << 21),
        "digits": "seed: " + "9" * 5000,
        "json-trailing": json.dumps(VALID) + "}",
        "json-nan": '{"seed": NaN}',
        "list-key": "? [a, b]\n: 1\n",
        "directive": "%TAG ! tag:x,2000:\n---\nname: !y z\n",
        "percent": "name: %x\n",
        "at": "name: @x\n",
        "star": "name: *\n",
        "invisible": "\ufeff\ufeff\n",
    }
    yield from texts.items()


# ---- entries of the wrong type, unknown, missing, out of range


_WRONG: dict[str, list[Any]] = {
    "name": [3, [], "../up", "a/b", "", "x" * 200, {"a": 1}],
    "command": [3, [], [""], [None], [["a"]], "", "a | b", "'open", ["python", "${nope}"], ["python", "${program}"]],
    "metrics": [3, [], {}, "loss", {"loss": 3}, {"loss": None}, {"loss": "up"}, {"loss": {"gol": "minimize"}}],
    "constraints": [3, [3], [[]], {"a": 1}, [""], ["los < 1"], ["rank < 4"], ["loss <"], ["loss < baseline.nope"]],
    "parameters": [3, [], {}, "lr", {"lr": []}, {"lr": {}}, {"lr": {"min": 0}}, {"": 3}, {"baseline": 3}],
    "restrictions": [3, [3], ["rnk < 4"], ["loss < 4"], ["rank <"], [None], {"a": 1}],
    "baseline": [3, [], "x", {"lrr": 1}, {"lr": "x"}, {"lr": 5}, {"rank": 5}, {"keep": [1]}, {"mix": {"web": 1}}],
    "initial": [3, "x", [3], [[]], {"lr": 1}, [{"lrr": 1}], [{"rank": 5}], [{"targets": ["z"]}], [{"order": ["a"]}]],
    "search": [3, [], {"method": 3}, {"method": ""}, {"duplicates": "maybe"}, {"method": ["gp"]}],
    "budget": [3, [], {"trails": 3}, {"trials": 0}, {"trials": "3"}, {"trials": 1.5}, {"time": "soon"}, {"time": -1}]
    + [{"failures": "x"}, {"failures": 1.5}, {"failures": -1}, {"gpu_hours": 0}, {"cost": 3}, {"cost": {"limit": 1}}]
    + [{"cost": {"metric": "nope", "limit": 1}}, {"target": {"nope": 1}}, {"target": {"loss": "x"}}, {"trials": True}],
    "fidelity": [3, {}, {"parameter": "nope", "min": 1, "max": 9}, {"parameter": "epochs", "min": 9, "max": 1}]
    + [
        {"parameter": "epochs", "min": 0, "max": 1},
        {"parameter": "optim", "min": 1, "max": 9},
        {"parameter": "epochs"},
    ],
    "early_stop": [3, [], {}, {"rule": 3}, {"eta": 3}],
    "repeats": [3, {"n": 0}, {"n": 1.5}, {"m": 1}, {"finalists": -1}],
    "runner": [3, {"cpu": 1}, {"gpus": -1}, {"cpus": 0}, {"timeout": "x"}, {"grace": -1}, {"retries": "two"}]
    + [{"on_oom": "retry"}, {"env": []}, {"env": {"A=B": "1"}}, {"env": {"A": []}}, {"backend": "cloud"}, {"cwd": 3}],
    "parallel": [0, -1, 1.5, "many", [], True, 10**9],
    "seed": [-1, 1.5, "x", 10**30, [], False],
    "storage": [3, "", []],
    "base_dir": [3, [], {"a": 1}],
    "objective": ["peft", 3],
    "notes": [["x"]],
    "source": ["x"],
    "budgt": [{"trials": 3}],
    "Parameters": [{}],
    "extends": ["other.yaml"],
}

_WRONG_PARAMETERS: list[Any] = [
    {"min": 1, "max": 0},
    {"min": 1, "max": 1},
    {"min": 0, "max": 1, "log": True},
    {"min": -1, "max": 1, "log": True},
    {"min": "0", "max": 1},
    {"min": None, "max": 1},
    {"min": 0, "mx": 1},
    {"min": 0, "max": 1, "step": 0},
    {"min": 0, "max": 1, "step": -1},
    {"min": 0, "max": 1, "step": 1e-300},
    {"min": 0, "max": 1, "log": "yes"},
    {"min": 0, "max": 1, "type": "complex"},
    {"min": 0, "max": float("inf")},
    {"min": float("nan"), "max": 1},
    {"min": -1e308, "max": 1e308},
    {"min": 0, "max": 10**40},
    {"min": 0, "max": 1, "prior": {"at": 7}},
    {"min": 0, "max": 1, "prior": {"at": 0.5, "confidence": "total"}},
    {"min": 0, "max": 1, "when": "nope == 1"},
    {"min": 0, "max": 1, "when": "p > 0"},
    {"min": 0, "max": 1, "when": "=="},
    {"min": 0, "max": 1, "when": 3},
    {"min": 0, "max": 1, "when": _CODE},
    {"values": []},
    {"values": "abc"},
    {"values": [1, 1]},
    {"values": [1, 2], "ordered": "yes"},
    {"values": list(range(20_000))},
    {"subset": []},
    {"subset": ["a", "a"]},
    {"subset": ["a", "b"], "min_size": 3},
    {"subset": ["a", "b"], "min_size": 2, "max_size": 1},
    {"vector": 0, "min": 0, "max": 1},
    {"vector": -1, "min": 0, "max": 1},
    {"vector": 10**12, "min": 0, "max": 1},
    {"vector": 10**30, "min": 0, "max": 1},
    {"vector": 2.5, "min": 0, "max": 1},
    {"vector": 3, "min": 1, "max": 0},
    {"vector": 3, "min": 0, "max": 1, "monotone": "up"},
    {"simplex": []},
    {"simplex": ["a"], "total": 0},
    {"simplex": ["a", "b"], "total": 1.5},
    {"simplex": ["a", "a"]},
    {"permutation": ["a", "a"]},
    {"permutation": 3},
    {"values": [1], "subset": [1]},
    {"foo": 1},
    {"when": "rank > 4"},
    [1, 2, 3],
]


def _wrong_entries() -> Iterator[tuple[str, str]]:
    for key, values in _WRONG.items():
        for index, value in enumerate(values):
            yield f"{key.lower()}-{index}", _text(**{key: value})
    for index, entry in enumerate(_WRONG_PARAMETERS):
        yield f"parameter-{index}", _text(parameters={**VALID["parameters"], "p": entry})
    for key in ("metrics", "parameters"):
        yield f"without-{key}", dump_yaml({name: value for name, value in VALID.items() if name != key})
    yield "bound-only", _text(metrics={"loss": {"max": 1}})
    yield "same-name", _text(metrics={"loss": "minimize", "lr": "minimize"})
    yield "many-parameters", _text(parameters={f"p{index}": 1 for index in range(1001)})
    yield "many-columns", _text(parameters={f"p{i}": {"vector": 9999, "min": 0, "max": 1} for i in range(3)})
    yield (
        "cycle",
        _text(parameters={"a": {"min": 0, "max": 1, "when": "b > 0"}, "b": {"min": 0, "max": 1, "when": "a > 0"}}),
    )
    ring = {f"p{i}": {"min": 0, "max": 1, "when": f"p{(i + 1) % 50} > 0"} for i in range(50)}
    yield "long-cycle", _text(parameters=ring)
    yield "formula-cycle", _text(metrics={"loss": "minimize", "a": {"formula": "b"}, "b": {"formula": "a"}})
    metrics: list[dict[str, Any]] = [{"statistic": "p200"}, {"stdout": "("}, {"stdout": "x"}, {"path": "$.a"}]
    for index, metric in enumerate([*metrics, {"min": 2, "max": 1}, {"unit": 3}]):
        yield f"metric-{index}", _text(metrics={"loss": {"goal": "minimize", **metric}})


# ---- expressions


_EXPRESSIONS = [
    _CODE,
    f'eval("{_CODE}")',
    f'exec("{_CODE}")',
    "open('/etc/passwd').read() == ''",
    "().__class__.__bases__[0].__subclasses__() == []",
    "rank.__class__ == 3",
    "(lambda: 1)() == 1",
    "[x for x in range(10)] == []",
    "rank := 3",
    "f'{rank}' == '4'",
    "9**9**9**9 > 0 and nope",
    "'a' * 10**10 == ''",
    "rank < ",
    "rank = 4",
    "rank &&lr",
    "import os",
    "rank; lr",
    "[" * 200 + "rank" + "]" * 200 + " == 0",
    "not " * 500 + "rank",
    "rank > " + "-" * 500 + "1",
    "rank + " * 5000 + "1 > 0",
    "nope(rank) > 0",
    "rank > 1 if",
    "globals()",
    "getattr(rank, 'x')",
    "print('x')",
    "rank ? 1 : 2",
    "rank > 0x",
    "\u202erank > 0",
]


def _wrong_expressions() -> Iterator[tuple[str, str]]:
    for index, text in enumerate(_EXPRESSIONS):
        yield f"restriction-{index}", _text(restrictions=[text])
        yield f"condition-{index}", _text(parameters={**VALID["parameters"], "p": {"min": 0, "max": 1, "when": text}})
        yield f"constraint-{index}", _text(constraints=[text])
    for index, text in enumerate(_EXPRESSIONS[:8]):
        yield f"formula-{index}", _text(metrics={"loss": "minimize", "size": {"formula": text}})


# ---- mutations


_JUNK: list[Any] = [
    [[[[[[1]]]]]],
    {"a": {"b": {"c": {}}}},
    -(2**63),
    1e300,
    float("inf"),
    float("nan"),
    10**25,
    True,
    [None, None],
    _CODE,
    "\x00",
]


def mutate(sweep: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A copy of the sweep with one place made certainly wrong: an unknown key, or junk where a section stands."""
    mutated = copy.deepcopy(sweep)
    places = [place for place in _mappings(mutated, ()) if place[0] not in (("runner", "env"), ("baseline",))]
    path, mapping = rng.choice(places)
    if rng.random() < 0.5 and path not in ((), ("metrics",), ("parameters",), ("search",), ("early_stop",)):
        key = rng.choice(sorted(mapping))
        mapping[key + rng.choice(["s", "_", "x", "-1"])] = mapping.pop(key)
    elif not path or rng.random() < 0.3:
        mutated[rng.choice(["trials", "objectives", "x" * rng.randint(1, 90), "budgets", "parameter", "0"])] = 1
    else:
        target: Any = mutated
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = rng.choice(_JUNK[1:3] if path[0] == "parameters" and len(path) == 1 else [[[]], *_JUNK[4:7]])
    return mutated


def _mappings(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, entry in value.items():
            yield from _mappings(entry, (*path, key))


def _mutations() -> Iterator[tuple[str, str]]:
    for seed in range(80):
        yield f"mutation-{seed}", dump_yaml(mutate(VALID, random.Random(seed)))
