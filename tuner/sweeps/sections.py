"""The sections of a sweep file as frozen pydantic models: their keys, types and shorthands, each on its own.

What ties sections together (names, bounds against each other, conditions) is checked in `tuner.sweeps.checks`.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_serializer, model_validator
from pydantic.json_schema import SkipJsonSchema

from tuner.sweeps.findings import quote

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d|w)\s*")
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST_S = 1e9  # 31 years
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%\Z")


class Section(BaseModel):
    """A part of the sweep file: strict types, unknown keys refused, frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


def duration_s(value: object) -> float:
    """Return seconds: a number is seconds, text is a sum of parts such as "1h30m".

    Raises:
        ValueError: It is neither, is not positive, or is longer than 31 years.
    """
    seconds = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and len(value) < 100:
        parts = list(_DURATION_PART.finditer(value.strip()))
        if parts and sum(len(part.group()) for part in parts) == len(value.strip()):
            seconds = sum(float(part.group(1)) * _UNIT_S[part.group(2)] for part in parts)
        elif re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            seconds = float(value)
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError(
            f"must be a positive duration, at most {_LONGEST_S:.0e} s, but got {quote(value)}; write 20s or 1h30m"
        )
    return seconds


def _share_or_count(value: object) -> int | float:
    """Return a count (int >= 0) or a share (float in (0, 1]) from 5, 0.3 or "30%"."""
    if isinstance(value, str) and (percent := _PERCENT.match(value.strip())):
        value = float(percent.group(1)) / 100
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"must be a count or a share, but got {quote(value)}; write for example 5 or 30%")
    if isinstance(value, float) and not 0 < value <= 1:
        raise ValueError(f"must be a share above 0% and at most 100%, but got {quote(value)}; write for example 30%")
    if value < 0:
        raise ValueError(f"must be a count of at least 0, but got {value}; write for example 5")
    return value


def _parallel(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PARALLEL:
        return value
    raise ValueError(f'must be "auto" or a whole number from 1 to {MAX_PARALLEL}, but got {quote(value)}; write 4')


MAX_PARALLEL = 4096


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _texts(value: object) -> object:
    """Accept one text for a list of one."""
    return (value,) if isinstance(value, str) else _as_tuple(value)


def _words(value: object) -> object:
    """Return a command's words from a list (numbers become text) or from one line of text."""
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"must be words, but got {quote(value)} ({error}); write a list of words") from None
        if shell := {"|", "||", "&&", ";", ">", ">>", "<", "&"} & set(words):
            raise ValueError(
                f"must be one program, no shell reads it, but got {quote(sorted(shell)[0])} in {quote(value)}; "
                'write [sh, -c, "..."]'
            )
        return tuple(words)
    if not isinstance(value, (list, tuple)):
        return value
    return tuple(
        (repr(word) if isinstance(word, float) else str(word))
        if isinstance(word, (int, float)) and not isinstance(word, bool)
        else word
        for word in value
    )


def _environment(value: object) -> object:
    """Return the variables with numbers and booleans as the text that YAML shows."""
    if not isinstance(value, Mapping):
        return value
    for name, entry in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f'a variable\'s name must be text without "=", but got {quote(name)}; rename it')
        if isinstance(entry, str) and "\0" in entry:
            raise ValueError(f"a variable must not hold a NUL character, but {quote(name)} does; remove it")
    return {name: json.dumps(v) if isinstance(v, (bool, int, float)) else v for name, v in value.items()}


def _program(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0].strip():
        raise ValueError('must start with a program, but is empty; write for example [python, train.py, "${args}"]')
    if any("\0" in word for word in value):
        raise ValueError("must not hold a NUL character, but does; remove it")
    return value


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for i, name in enumerate(value) if name in value[:i]]:
        raise ValueError(f"must name each study once, but {quote(twice[0])} is there twice; remove one")
    return value


Seconds = Annotated[float, BeforeValidator(duration_s)]
ShareOrCount = Annotated[int | float, BeforeValidator(_share_or_count)]
Parallel = Annotated[int | Literal["auto"], BeforeValidator(_parallel)]
Batch = Annotated[int | Literal["auto"], BeforeValidator(_parallel)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_texts), Field(max_length=1000)]
Studies = Annotated[tuple[Text, ...], BeforeValidator(_texts), AfterValidator(_once), Field(max_length=100)]
Sinks = Annotated[tuple[Literal["tensorboard", "mlflow", "wandb"], ...], BeforeValidator(_texts), AfterValidator(_once)]
Configs = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_as_tuple), Field(max_length=10_000)]
Command = Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_program), Field(max_length=10_000)]


def _named(value: object, key: str, *fixed: str) -> object:
    """Return `{key: name, options: {...}}` from a bare name or from a mapping with the options beside the name."""
    if isinstance(value, str):
        return {key: value}
    if not isinstance(value, Mapping):
        return value
    own = {name: entry for name, entry in value.items() if name in (key, *fixed)}
    options = {name: entry for name, entry in value.items() if name not in own}
    if isinstance(options.get("options"), Mapping):
        nested = options.pop("options")
        if clash := set(nested) & {key, "options", *fixed, *options}:
            raise ValueError(f"options must not repeat {quote(sorted(clash)[0])}, but do; write options beside {key}")
        options |= nested
    return {**own, "options": options}


class ObjectiveSection(Section):
    """What is evaluated when it is not a command.

    Attributes:
        name: A built-in's name, or "package.module:function".
        options: Passed to it.
        function: The callable itself, when the sweep was written in Python.
    """

    name: Text = Field(examples=["sparsity"], description='A built-in workload, or "package.module:function".')
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the objective.")
    function: SkipJsonSchema[Callable[..., Any] | None] = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        section = {"name": value} if callable(value) else _named(value, "name")
        if isinstance(section, dict) and callable(function := section.get("name")):
            name = f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
            return {**section, "name": name, "function": function}
        return section

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}


class MetricSection(Section):
    """One measured thing; the fields are those of `tuner.trial.Metric`."""

    goal: Literal["maximize", "minimize"] | None = Field(default=None, examples=["minimize"])
    unit: str = Field(default="", max_length=40, description="For tables, such as ms.")
    min: Number | None = Field(default=None, description="Lower bound: an outcome constraint.", examples=[0.9])
    max: Number | None = Field(default=None, description="Upper bound: an outcome constraint.", examples=[40])
    reference: Number | None = Field(default=None, description="This metric's corner of the hypervolume.")
    statistic: str = Field(default="last", description="last, mean, median, min, max, or p95 and the like.")
    formula: Text | None = Field(default=None, description="An expression over parameters or other metrics.")
    stdout: Text | None = Field(default=None, description='"json", or a regular expression with one group.')
    file: Text | None = Field(default=None, description="A result file in the trial's folder.")
    path: Text | None = Field(default=None, description="A JSONPath into the result file.")

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        if value is None:
            raise ValueError("must say what to do with the metric, but got nothing (null); write maximize or minimize")
        return {"goal": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> MetricSection:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min <= max must hold, but got min={self.min}, max={self.max}; swap them")
        match = re.fullmatch(r"last|mean|median|min|max|p(\d{1,2}(?:\.\d{1,3})?|100)", self.statistic)
        if match is None:
            raise ValueError(
                f"statistic must be last, mean, median, min, max or p<percent>, but got {quote(self.statistic)}; "
                "write for example p95"
            )
        if self.path is not None and self.file is None:
            raise ValueError('path needs a file to look in, but there is no "file"; add file: result.json')
        sources = [key for key in ("formula", "stdout", "file") if getattr(self, key) is not None]
        if len(sources) > 1:
            raise ValueError(f"a metric must have one source, but has {' and '.join(sources)}; keep one")
        if self.stdout is not None and self.stdout != "json":
            _check_pattern(self.stdout)
        return self


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f'stdout must be "json" or a regular expression, but got {quote(pattern)} ({error})') from None
    if groups < 1:
        raise ValueError(
            f'stdout must be "json" or hold a group around the value, but got {quote(pattern)}; '
            r"write for example 'loss: ([0-9.eE+-]+)'"
        )


class SearchSection(Section):
    """The strategy.

    Attributes:
        method: Its registry name; "auto" chooses by what it can see.
        options: Passed to it.
        duplicates: Whether a configuration may be proposed again; None leaves it to the noise.
    """

    method: Text = Field(default="auto", examples=["gp"], description="The strategy's name.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the strategy.")
    duplicates: Literal["reject", "replicate"] | None = Field(default=None, examples=["reject"])

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return _named(value, "method", "duplicates")

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        duplicates = {} if self.duplicates is None else {"duplicates": self.duplicates}
        return {"method": self.method, **duplicates, **self.options}


class Cost(Section):
    """A budget on the sum of a metric over the trials."""

    metric: Text = Field(examples=["gpu_energy_j"])
    limit: Number = Field(gt=0, examples=[1000])


class Budget(Section):
    """When to stop; whichever comes first. No limit is None."""

    trials: int | None = Field(default=None, ge=1, le=100_000_000, examples=[60])
    time: Seconds | None = Field(default=None, examples=["4h"], description="Wall clock of the sweep.")
    failures: ShareOrCount | None = Field(default=None, examples=["30%"], description="Failed trials tolerated.")
    gpu_hours: Number | None = Field(default=None, gt=0, examples=[24])
    cost: Cost | None = Field(default=None, examples=["{metric: gpu_energy_j, limit: 1e6}"])
    no_improvement: int | None = Field(default=None, ge=1, le=100_000_000, examples=[20])
    target: dict[str, Number] = Field(default_factory=dict, examples=["{accuracy: 0.95}"])


class Fidelity(Section):
    """The parameter that early stopping and multi-fidelity strategies spend."""

    parameter: Text = Field(examples=["epochs"])
    min: Number = Field(gt=0, examples=[1])
    max: Number = Field(gt=0, examples=[27])

    @model_validator(mode="after")
    def _ordered(self) -> Fidelity:
        if self.min >= self.max:
            raise ValueError(f"min < max must hold, but got min={self.min}, max={self.max}; swap them")
        return self


class EarlyStop(Section):
    """The rule that ends hopeless trials early, and its options."""

    rule: Text = Field(examples=["asha"])
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return _named(value, "rule")

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"rule": self.rule, **self.options}


class Repeats(Section):
    """Replicates against noise: `n` of every configuration, then `finalist_n` of the `finalists` best.

    The finalists are measured once the budget is spent, on fresh seeds, beyond the budget. With `race` the repeats of
    all configurations have common seeds, and a configuration ends once they say that it is worse than one that is done.
    """

    n: int = Field(default=1, ge=1, le=10_000, examples=[3])
    finalists: int = Field(default=0, ge=0, le=100_000, examples=[5])
    finalist_n: int = Field(default=5, ge=1, le=10_000, examples=[5])
    race: Number | None = Field(default=None, gt=0, lt=1, examples=[0.05], description="Level of the test that drops.")
    allocate: Literal["evenly", "halving"] = Field(
        default="evenly", examples=["halving"], description="Halving: ever more measurements for ever fewer finalists."
    )

    @model_validator(mode="after")
    def _raced(self) -> Repeats:
        if self.race is not None and self.n < 3:
            raise ValueError(f"race needs repeats to compare, but n is {self.n}; write n: 5 or more, or leave race out")
        return self


class RunnerSection(Section):
    """Where and how trials run.

    When tuner runs in a virtual environment, that environment's programs come first on the PATH of its trials, so that
    `python` in a command is the Python that runs tuner; `env: {PATH: ...}` overrides it.
    """

    backend: Literal["local"] = Field(default="local", examples=["local"])
    gpus: int = Field(default=0, ge=0, le=1024, examples=[1], description="GPUs of each trial.")
    cpus: int = Field(default=1, ge=1, le=65_536, examples=[4], description="CPU threads of each trial.")
    timeout: Seconds | None = Field(default=None, examples=["30m"], description="Of one attempt.")
    grace: Seconds = Field(default=10.0, examples=["20s"], description="Between TERM and KILL.")
    retries: int = Field(default=2, ge=0, le=100, examples=[2], description="After a failure of the infrastructure.")
    on_oom: Literal["infeasible", "fail"] = Field(default="infeasible", examples=["infeasible"])
    env: Annotated[dict[str, str], BeforeValidator(_environment)] = Field(default_factory=dict)
    cwd: Text | None = Field(default=None, examples=["."], description="Where commands start, from the sweep's folder.")
    exclusive: bool | None = Field(default=None, description="One trial at a time on its devices; null: when timing.")
    recycle: int = Field(default=1000, ge=1, examples=[1000], description="Trials after which a worker is replaced.")
    batch: Batch = Field(
        default="auto", description="Trials of one pass, where the objective evaluates several at once."
    )
