"""Who solves the problems: every registered strategy through a study in memory, and the installed peers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tuner import catalog
from tuner.bench.problem import BenchProblem
from tuner.errors import UnknownNameError, UsageError
from tuner.trial import Config


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
        self._study = tuner.Study.create(sweep)
        self._trial = 0

    def ask(self) -> Config | None:
        """The study's next proposal."""
        proposals = self._study.ask(1)
        if not proposals:
            return None
        self._trial = proposals[0].trial
        return proposals[0].config

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Finish the trial."""
        from tuner.trial import Outcome

        end = time.time()
        outcome = Outcome(state="completed", metrics=metrics)
        self._study.finish(self._trial, outcome, ran=(end - self._trial_s, end))

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Add an observation made elsewhere."""
        self._study.add(config, metrics)

    def recommend(self) -> int | None:
        """What `tuner best` would say."""
        found = self._study.recommend()
        return None if found is None else found.trial


def peer_names() -> list[str]:
    """The adapters whose package is installed."""
    from tuner.bench.peers import PEERS

    return [name for name, peer in PEERS.items() if _version(peer.package)]


def own_names() -> list[str]:
    """The registered strategies."""
    return catalog.names("strategies")


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """`gp:restarts=8` as the name and its options.

    Raises:
        UnknownNameError: There is no such strategy or peer.
        UsageError: An option without a value.
    """
    from tuner.bench.peers import PEERS
    from tuner.sweeps.yaml_source import read_value

    name, *rest = text.split(":")
    if name not in PEERS and name not in own_names():
        known = ", ".join([*own_names(), *PEERS])
        raise UnknownNameError(f"there is no method {name!r} (known: {known})")
    if name in PEERS and not _version(PEERS[name].package):
        raise UsageError(f"{name} needs the package {PEERS[name].package}, which is not installed here")
    if name in PEERS and rest:
        raise UsageError(f"peers run with their defaults, but got options for {name}: {':'.join(rest)}")
    options = {}
    for part in rest:
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
