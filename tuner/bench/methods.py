"""Who solves the problems: every registered strategy through a study in memory, and the installed peers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tuner import catalog
from tuner.bench.problem import BenchProblem, Fidelity
from tuner.bench.record import Meter
from tuner.errors import UnknownNameError, UsageError
from tuner.trial import Config

_SPENT = "full_trials"


class Session(ABC):
    """One run of one method on one problem: ask, evaluate, tell."""

    @abstractmethod
    def ask(self) -> Config | None:
        """The next configuration; None when the method has no more."""

    @abstractmethod
    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """The metrics of what was asked last."""

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Take in a trial that was not asked for.

        Raises:
            UsageError: The method cannot.
        """
        raise UsageError(f"{type(self).__name__} takes no trials from elsewhere; leave it out of --timing")

    @property
    def fidelity(self) -> float | None:
        """How much of the fidelity what was asked last shall have; None for all of it."""
        return None

    def recommend(self) -> int | None:
        """The number, from 0, of the trial to use; None for the best one observed."""
        return None


class StudySession(Session):
    """A strategy of the tool, by the names and options that a sweep file takes.

    Every trial is said to have taken `trial_s` seconds: a strategy that weighs its own time against a trial's must not
    take these for trials of microseconds.
    """

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int, name: str, options: Mapping[str, Any]) -> None:
        import tuner

        self._trial_s = float(options.get("trial_s", 60.0))
        given = {key: value for key, value in options.items() if key != "trial_s"}
        metrics = {
            m.name: {
                key: value
                for key, value in (("goal", m.goal), ("min", m.min), ("max", m.max), ("reference", m.reference))
                if value is not None
            }
            for m in problem.metrics
        }
        sweep = {
            "name": problem.name,
            "metrics": metrics,
            **problem.space.to_dict(),
            "search": {"method": name, **given} if given else name,
            "budget": {"trials": n_trials},
            "seed": seed,
        }
        self._problem = problem
        self._meter: Meter | None = None
        if problem.fidelity is not None:
            self._meter = Meter(problem.fidelity)
            sweep |= _with_fidelity(sweep, problem.fidelity, n_trials)
        self._study = tuner.Study.create(sweep)
        self._trial = 0
        self._fidelity: float | None = None

    def ask(self) -> Config | None:
        """The study's next proposal."""
        proposals = self._study.ask(1)
        if not proposals:
            return None
        self._trial, self._fidelity = proposals[0].trial, proposals[0].fidelity
        fixed = self._problem.fidelity.parameter if self._problem.fidelity is not None else None
        return {name: value for name, value in proposals[0].config.items() if name != fixed}

    @property
    def fidelity(self) -> float | None:
        """What the proposal said."""
        return self._fidelity

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Finish the trial."""
        from tuner.trial import Outcome

        end, share, told = time.time(), 1.0, dict(metrics)
        if self._meter is not None:
            share = self._meter.charge(self._problem.space.key(config), self._meter.level(self._fidelity))
            told[_SPENT] = share
        outcome = Outcome(state="completed", metrics=told)
        self._study.finish(self._trial, outcome, ran=(end - share * self._trial_s, end))

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Add an observation made elsewhere."""
        self._study.add(config, metrics)

    def recommend(self) -> int | None:
        """What `tuner best` would say."""
        found = self._study.recommend()
        return None if found is None else found.trial


def _with_fidelity(sweep: Mapping[str, Any], fidelity: Fidelity, n_trials: int) -> dict[str, Any]:
    """The keys that a sweep needs besides: its parameter, fixed at the most, what may be spent, and on what.

    The budget is one full trial larger than the run: a study starts no trial that may not fit.
    """
    return {
        "parameters": {**sweep["parameters"], fidelity.parameter: fidelity.max},
        "fidelity": {"parameter": fidelity.parameter, "min": fidelity.min, "max": fidelity.max},
        "metrics": {**sweep["metrics"], _SPENT: {}},
        "budget": {"cost": {"metric": _SPENT, "limit": n_trials + 1}},
    }


def peer_names() -> list[str]:
    """The adapters whose package is installed."""
    from tuner.bench.peers import PEERS

    return [name for name, peer in PEERS.items() if _version(peer.package)]


def peer_package(name: str) -> str | None:
    """What a peer needs installed; None when there is no such peer."""
    from tuner.bench.peers import PEERS

    return PEERS[name].package if name in PEERS else None


def own_names() -> list[str]:
    """The registered strategies."""
    return catalog.names("strategies")


def parse_method(text: str, *, elsewhere: Collection[str] = ()) -> tuple[str, dict[str, Any]]:
    """`gp:restarts=8` as the name and its options.

    Args:
        text: What was typed.
        elsewhere: Peers that another interpreter runs: they need not be installed here.

    Raises:
        UnknownNameError: There is no such strategy or peer.
        UsageError: An option without a value.
    """
    from tuner.bench.peers import PEERS

    name, *rest = text.split(":")
    if name not in PEERS and name not in own_names():
        known = ", ".join([*own_names(), *PEERS])
        raise UnknownNameError(f"there is no method {name!r} (known: {known})")
    if name in PEERS and name not in elsewhere and not _version(PEERS[name].package):
        where = f"install it, or name an interpreter that has it: --python {name}=/path/to/python"
        raise UsageError(f"{name} needs the package {PEERS[name].package}, which is not installed here; {where}")
    if name in PEERS and rest:
        raise UsageError(f"peers run with their defaults, but got options for {name}: {':'.join(rest)}")
    options: dict[str, Any] = {}
    for part in rest:
        from tuner.sweeps.yaml_source import read_value  # not where only a peer runs

        key, sign, value = part.partition("=")
        if not sign:
            raise UsageError(f"a method's options are key=value, but got {part!r} in {text!r}")
        options[key] = read_value(value)
    return name, options


def open_session(method: str, problem: BenchProblem, n_trials: int, seed: int, trial_s: float) -> Session:
    """A fresh run."""
    from tuner.bench.peers import PEERS

    name, options = parse_method(method)
    if name in PEERS:
        return PEERS[name].make(problem, n_trials, seed)
    return StudySession(problem, n_trials, seed, name, {**options, "trial_s": trial_s})


def method_version(method: str) -> str:
    """The version of the package that a method comes from."""
    from tuner.bench.peers import PEERS

    name = method.split(":")[0]
    package = PEERS[name].package if name in PEERS else "tuner"
    return f"{package} {_version(package) or 'checkout'}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
