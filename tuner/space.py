"""Search spaces: parameters, the conditions that activate them, and the restrictions that hold between them."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tuner.encoding import Array, Encoding, Mask
from tuner.errors import SpaceError
from tuner.expressions import Expression, parse
from tuner.parameters import Constant, Parameter, from_dict
from tuner.sampling import counting, restricted
from tuner.trial import Config

Known = Callable[[Config], Mapping[str, float]]


class SearchSpace:
    """What can be tried; immutable.

    Attributes:
        parameters: In dependency order: what a condition names comes before the parameter it governs.
        names: Their names, in the same order.
        conditions: Name -> condition, for those that have one.
        restrictions: What must hold of a configuration. One that names an inactive parameter holds.
        known: Gives the metrics that follow from a configuration alone; restrictions may name them.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        restrictions: Sequence[str | Expression] = (),
        known: Known | None = None,
    ) -> None:
        """Checks names, conditions and restrictions.

        Raises:
            SpaceError: No parameter, a name twice, a cycle, or a name that no parameter has.
        """
        declared = tuple(parameters)
        if not declared:
            raise SpaceError("a search space needs at least one parameter, but got none; add one")
        by_name: dict[str, Parameter] = {}
        for parameter in declared:
            if parameter.name in by_name:
                raise SpaceError(f'parameters need different names, but "{parameter.name}" is declared twice')
            by_name[parameter.name] = parameter
        self.parameters = _in_dependency_order(by_name)
        self.names = tuple(p.name for p in self.parameters)
        self.conditions: Mapping[str, Expression] = {
            p.name: p.condition for p in self.parameters if p.condition is not None
        }
        self.restrictions = tuple(r if isinstance(r, Expression) else parse(r) for r in restrictions)
        self.known = known
        self._by_name = by_name
        self._declared = tuple(by_name)
        self._plan = tuple((p.name, p, self.conditions.get(p.name)) for p in self.parameters)
        self._checks = tuple((r, tuple(n for n in r.names if n in by_name)) for r in self.restrictions)
        self._foreign = frozenset(n for r in self.restrictions for n in r.names if n not in by_name)
        self._check_restrictions()

    def _check_restrictions(self) -> None:
        available = set(self._by_name)
        if self._foreign and self.known is not None:
            rng = np.random.default_rng(0)
            available.update(*(self.known(config) for config in self._drawn(8, rng, prior=False)))
        for restriction in self.restrictions:
            for name in sorted(restriction.names - available):
                raise SpaceError(f'the restriction "{restriction}" names "{name}"{nearest(name, available)}')

    # -- membership ----------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Parameter:
        if name not in self._by_name:
            raise SpaceError(f'no parameter is named "{name}"{nearest(name, self._by_name)}')
        return self._by_name[name]

    def active(self, config: Mapping[str, Any]) -> set[str]:
        """The parameters that are active, given the values of the others in `config`."""
        if not self.conditions:
            return set(self.names)
        held: Config = {}
        active: set[str] = set()
        for name, _, condition in self._plan:
            if condition is None or condition.holds(held):
                active.add(name)
                if name in config:
                    held[name] = config[name]
        return active

    def contains(self, config: Mapping[str, Any]) -> bool:
        """Whether exactly the active parameters have values, each its own, and every restriction holds."""
        n_active = 0
        for name, parameter, condition in self._plan:
            if condition is not None and not condition.holds(config):
                if name in config:
                    return False
                continue
            if name not in config or not parameter.contains(config[name]):
                return False
            n_active += 1
        return n_active == len(config) and self.feasible(config)

    def feasible(self, config: Mapping[str, Any]) -> bool:
        """Whether every restriction holds; nothing else is checked."""
        if not self._checks:
            return True
        env = self.environment(config)
        for restriction, names in self._checks:
            for name in names:
                if name not in config:
                    break
            else:
                if not restriction.holds(env):
                    return False
        return True

    def _vacuous(self, config: Mapping[str, Any], names: tuple[str, ...]) -> bool:
        return bool(self.conditions) and any(name not in config for name in names)

    def environment(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """What restrictions can name: the configuration, and the known metrics when one of them needs those."""
        if self.known is None or not self._foreign:
            return config
        return {**self.known(dict(config)), **config}

    def margins(self, config: Mapping[str, Any]) -> list[float]:
        """By how much each restriction holds (`Expression.margin`); 0.0 where it names an inactive parameter."""
        env = self.environment(config)
        return [0.0 if self._vacuous(config, names) else r.margin(env) for r, names in self._checks]

    def violations_of(self, config: Mapping[str, Any]) -> list[float]:
        """By how much each restriction is broken: 0.0 where it holds, otherwise > 0 in the units of its margin."""
        env = self.environment(config)
        amounts = []
        for restriction, names in self._checks:
            margin = math.inf if self._vacuous(config, names) else restriction.margin(env)
            held = margin > 0 or (margin == 0 and restriction.holds(env))
            amounts.append(0.0 if held else max(-margin, 1e-300))
        return amounts

    def violations(self, config: Mapping[str, Any]) -> list[str]:
        """Everything that keeps `config` out of the space, one sentence each; empty when it is contained."""
        valid = {n: v for n, v in config.items() if n in self._by_name and self._by_name[n].contains(v)}
        filled = {n: valid[n] if n in valid else self._by_name[n].centre() for n in self.names if n in config}
        active = self.active(filled)
        found = [f'no parameter is named "{n}"{nearest(n, self._by_name)}' for n in config if n not in self._by_name]
        for name, parameter, condition in self._plan:
            if name in active and name not in config:
                found.append(f'"{name}" is active but has no value')
            elif name not in active and name in config:
                found.append(f'"{name}" is inactive, because its condition "{condition}" does not hold; remove it')
            elif name in config and not parameter.contains(config[name]):
                found.append(_why_not(parameter, config[name]))
        if found:
            return found
        env = self.environment(config)
        broken = [r for r, names in self._checks if not self._vacuous(config, names) and not r.holds(env)]
        return [_broken(restriction, env) for restriction in broken]

    def normalise(self, config: Mapping[str, Any], *, partial: bool = False) -> Config:
        """The configuration that a person wrote, in the form that the space makes: constants filled in, values coerced.

        Args:
            config: Names and values.
            partial: Fill active parameters without a value by their centres, or, where those break a restriction, by
                values that do not.

        Raises:
            SpaceError: Anything wrong, all of it at once.
        """
        if not isinstance(config, Mapping):
            raise SpaceError(f"a configuration maps names to values, but got {config!r}")
        problems = [
            f'no parameter is named "{name}"{nearest(str(name), self._by_name)}'
            for name in config
            if name not in self._by_name
        ]
        out: Config = {}
        free: list[str] = []
        for name, parameter, condition in self._plan:
            if condition is not None and not condition.holds(out):
                if name in config:
                    problems.append(
                        f'"{name}" is inactive, because its condition "{condition}" does not hold; remove it'
                    )
                continue
            if name in config:
                try:
                    out[name] = parameter.normalise(config[name])
                except SpaceError as error:
                    problems.append(str(error))
                    out[name] = parameter.centre()
            else:
                out[name] = parameter.centre()
                if not isinstance(parameter, Constant):
                    free.append(name)
        if free and not partial:
            problems += [f'"{name}" needs a value' for name in free]
        if not problems and not self.feasible(out):
            mended = restricted.fill(self, {n: v for n, v in out.items() if n not in free}) if free else None
            if mended is not None:
                return mended
            problems += self.violations(out)
        if problems:
            raise SpaceError("; ".join(problems))
        return out

    # -- size and identity ---------------------------------------------------------------------------------------------

    def size(self) -> float:
        """How many configurations there are, without regard to restrictions; math.inf when one is continuous.

        Exact as far as floats are, up to `counting.MAX_COMBINATIONS` combinations of the parameters that conditions
        name; beyond, estimated from samples. At most 1.8e308.
        """
        return self._size

    @cached_property
    def _size(self) -> float:
        return counting.size(self)

    def enumerate(self, limit: int = 1_000_000) -> Iterator[Config]:
        """Every feasible configuration, in a fixed order.

        Raises:
            SpaceError: The space is continuous, or has more than `limit` configurations before restrictions.
        """
        size = self.size()
        if math.isinf(size):
            name = next(p.name for p in self.parameters if p.size() == math.inf)
            raise SpaceError(f'only a finite space can be enumerated, but "{name}" is continuous; give it a step')
        if size > limit:
            raise SpaceError(f"at most {limit:,} configurations can be enumerated, but the space has {size:.4g}")
        return counting.members(self)

    def digest(self) -> str:
        """A text that is the same exactly for spaces with the same parameters, conditions and restrictions.

        The order of declaration and the priors make no difference; `known` is not part of it.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        parameters = {}
        for parameter in self.parameters:
            spec = parameter.to_dict()
            parameters[parameter.name] = (
                {k: v for k, v in spec.items() if k != "prior"} if isinstance(spec, dict) else {"value": spec}
            )
        content = {"parameters": parameters, "restrictions": sorted({r.text for r in self.restrictions})}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def key(self, config: Mapping[str, Any]) -> bytes:
        """16 bytes, equal exactly for equal configurations; 1, 1.0 and True are three values of a choice."""
        parts = [
            (name, parameter.canonical(config[name])) for name, parameter in self._by_sorted_name if name in config
        ]
        return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()

    @cached_property
    def _by_sorted_name(self) -> tuple[tuple[str, Parameter], ...]:
        return tuple(sorted(self._by_name.items()))

    def to_dict(self) -> dict[str, Any]:
        """Parameters and restrictions as a sweep file writes them; `known` is left out."""
        return {
            "parameters": {name: self._by_name[name].to_dict() for name in self._declared},
            "restrictions": [r.text for r in self.restrictions],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], known: Known | None = None) -> SearchSpace:
        """The space that `to_dict` wrote."""
        parameters = [from_dict(name, spec) for name, spec in data["parameters"].items()]
        return cls(parameters, data.get("restrictions", ()), known)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return self.to_dict() == other.to_dict() and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return f"SearchSpace({', '.join(self.names)}; {len(self.restrictions)} restrictions)"

    def __reduce__(self) -> tuple[type[SearchSpace], tuple[Any, ...]]:
        declared = tuple(self._by_name[name] for name in self._declared)
        return SearchSpace, (declared, self.restrictions, self.known)

    # -- points --------------------------------------------------------------------------------------------------------

    @cached_property
    def encoding(self) -> Encoding:
        """The map to and from the unit cube."""
        return Encoding(self)

    def sample(self, n: int, rng: np.random.Generator, *, prior: bool = False) -> list[Config]:
        """n feasible configurations, uniform over the domains of the parameters that are active in them.

        A pure function of `rng`. Where fewer than about one in a thousand random configurations is feasible, they come
        from all feasible ones when these can be listed, otherwise from a Markov chain among them.

        Args:
            n: How many; repetitions are possible.
            rng: Where the randomness comes from.
            prior: Draw from the declared priors instead.

        Raises:
            SpaceError: Nothing feasible was found; the message holds the estimated feasible fraction.
        """
        if not self._checks:
            return self._drawn(n, rng, prior=prior)
        return restricted.sample(self, n, rng, prior=prior)

    def _drawn(self, n: int, rng: np.random.Generator, *, prior: bool) -> list[Config]:
        return [self.draw(rng, prior=prior) for _ in range(n)]

    def draw(self, rng: np.random.Generator, *, prior: bool = False) -> Config:
        """One random configuration without regard to restrictions."""
        config: Config = {}
        for name, parameter, condition in self._plan:
            if condition is None or condition.holds(config):
                config[name] = parameter.sample_prior(rng) if prior else parameter.sample(rng)
        return config

    @cached_property
    def ways(self) -> restricted.Ways:
        """How the restrictions are met when sampling; found once, with a fixed seed."""
        return restricted.find_ways(self)

    def feasible_fraction(self, n: int = 2000, seed: int = 0) -> float:
        """The share of random configurations that satisfy the restrictions.

        From n draws; where fewer than five of them are feasible, from the search that sampling does then, which is
        exact for a listed space and good to a factor of about two for rare sets. 0.0 when nothing feasible was found.
        """
        if not self._checks:
            return 1.0
        rng = np.random.default_rng(seed)
        hits = sum(self.feasible(self.draw(rng)) for _ in range(n))
        if hits >= 5:
            return hits / n
        try:
            return self.ways.fraction
        except SpaceError:
            return hits / n

    def neighbours(self, config: Mapping[str, Any], rng: np.random.Generator) -> list[Config]:
        """Feasible configurations one change away, without duplicates and without `config` itself.

        Parameters that the change activates get random values, those it deactivates are dropped. Where no single
        change is feasible (`a + b == 7`), small steps along the feasible set, or the nearest known members of it.
        """
        found: dict[bytes, Config] = {}
        own = self.key(config)
        for name, parameter, _ in self._plan:
            if name not in config:
                continue
            for value in parameter.neighbours(config[name], rng):
                other = self.changed(config, {name: value}, rng)
                if self.feasible(other):
                    found.setdefault(self.key(other), other)
        found.pop(own, None)
        if not found and self._checks:
            return restricted.near(self, dict(config), rng)
        return list(found.values())

    def changed(self, config: Mapping[str, Any], values: Mapping[str, Any], rng: np.random.Generator) -> Config:
        """`config` with other values for some active parameters, and activity settled after it.

        Newly active parameters are drawn at random. Restrictions are not checked.
        """
        if not self.conditions and len(config) == len(self._plan):
            return {**config, **values}
        out: Config = {}
        for name, parameter, condition in self._plan:
            if condition is None or condition.holds(out):
                source = values if name in values else config
                out[name] = source[name] if name in source else parameter.sample(rng)
        return out

    def centre(self) -> Config:
        """The feasible configuration in the middle: every parameter at its centre, or as near as was found.

        Raises:
            SpaceError: Nothing feasible was found.
        """
        config: Config = {}
        for name, parameter, condition in self._plan:
            if condition is None or condition.holds(config):
                config[name] = parameter.centre()
        return config if self.feasible(config) else restricted.nearest_feasible(self, config)

    def prior_log_density(self, X: Array, active: Mask | None = None) -> Array:
        """Log density (n,) of the priors at n points (n, d); see `Encoding.prior_log_density`."""
        return self.encoding.prior_log_density(X, active)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    listed = sorted(known)
    near = difflib.get_close_matches(name, listed, 1)
    return f'; did you mean "{near[0]}"?' if near else f"; known names are {', '.join(listed[:20])}"


def _why_not(parameter: Parameter, value: Any) -> str:
    try:
        parameter.normalise(value)
    except SpaceError as error:
        return str(error)
    return f'"{parameter.name}" must be in canonical form, but got {value!r}; pass the configuration through normalise'


def _broken(restriction: Expression, env: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name}={env[name]!r}" for name in sorted(restriction.names) if name in env)
    return f'the restriction "{restriction}" must hold, but got {values}'


def _in_dependency_order(by_name: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    """The parameters, each after those its condition names, otherwise as declared."""
    needs: dict[str, set[str]] = {}
    for name, parameter in by_name.items():
        needs[name] = set(parameter.condition.names) if parameter.condition is not None else set()
        for other in sorted(needs[name] - set(by_name)):
            raise SpaceError(f'the condition "{parameter.when}" of "{name}" names "{other}"{nearest(other, by_name)}')
    ordered: list[Parameter] = []
    placed: set[str] = set()
    while len(ordered) < len(by_name):
        ready = next((name for name in by_name if name not in placed and needs[name] <= placed), None)
        if ready is None:
            raise SpaceError(f"conditions must not form a cycle, but got {_cycle(needs, placed)}; drop one of them")
        placed.add(ready)
        ordered.append(by_name[ready])
    return tuple(ordered)


def _cycle(needs: Mapping[str, set[str]], placed: set[str]) -> str:
    path = [min(set(needs) - placed)]
    while path.count(path[-1]) < 2:
        path.append(min(needs[path[-1]] - placed))
    return " -> ".join(path[path.index(path[-1]) :])
