"""peft: which layers of a pretrained encoder get which modules of which size, for score against trained parameters.

Many layouts are trained in one pass over one frozen encoder (`Peft.evaluate_batch`); one alone is the same with K = 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.objectives.peft import models, texts
from tuner.objectives.peft.layouts import Layout, count, layout_of
from tuner.search_spaces.peft import SPACES

from tuner.errors import Stopped, UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    import torch
    from tuner.objectives.peft.batches import Bank
    from tuner.objectives.peft.encoder import Encoder
    from tuner.objectives.peft.states import State
    from tuner.objectives.peft.training import Epoch, Recipe

    from tuner.space import SearchSpace
    from tuner.trial import Trial

Result = Mapping[str, float] | Exception | None
"""Of one member of a batch: its metrics, why it failed, or None when it was stopped."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every trial of a study shares; see `build`."""

    model: str = models.MINILM
    task: str = "polarity"
    data: str | None = None
    text: str = "text"
    label: str = "label"
    space: str = "autopeft"
    examples: int = 2_000
    validation: int = 2_000
    epochs: int = 3
    batch: int = 32
    tokens: int = 64
    fidelity: str = "epochs"
    precision: str = "auto"
    latency: int = 0
    archive: str | None = None


class Peft:
    """Validation score against trained parameters of a layout.

    Everything that is drawn comes from the trial's seed; what a trial shares a pass with changes it by rounding only.
    Dropout is off. The test split is for `test`, which the loop calls once, at the end of a sweep, for the front.

    Attributes:
        space: One of `tuner.search_spaces.peft`, for the encoder's own layers and width.
        metrics: score (accuracy, or Pearson's correlation for ratings; maximised), log10_params (trained parameters,
            the head's included; minimised), params_k (thousands of them), params_percent (of the encoder's, without
            the head's), memory_mib (what a training step keeps), train_s (of its epochs, each shared among the layouts
            under way), latency_ms (when asked for).
        fidelities: What a trial can be given less of, and all of it: epochs or examples, as `Settings.fidelity` says.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = models.find(settings.model)
        self.shape = models.shape_of(self.folder)
        self.space: SearchSpace = SPACES[settings.space](self.shape.layers, self.shape.hidden)
        everything = math.log10(self.shape.n_params)
        metrics = [
            Metric(name="score", goal="maximize", reference=0.0 if self._rates else 0.5),
            Metric(name="log10_params", goal="minimize", reference=everything),
            Metric(name="params_k", unit="k"),
            Metric(name="params_percent", unit="%"),
            Metric(name="memory_mib", unit="MiB"),
            Metric(name="train_s", unit="s"),
        ]
        if settings.latency:
            metrics.append(Metric(name="latency_ms", unit="ms"))
        self.metrics: Mapping[str, Metric] = {metric.name: metric for metric in metrics}
        self.fidelities = {settings.fidelity: float(getattr(settings, settings.fidelity))}

    @property
    def _rates(self) -> bool:
        return self.settings.data is None and texts.TASKS[self.settings.task][1]

    def layout(self, config: Mapping[str, Any]) -> Layout:
        """Return the layout of a configuration."""
        return layout_of(config, self.shape)

    def known(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Return log10_params, params_k and params_percent of a configuration, exactly."""
        outputs = self._outputs
        params = count(self.layout(config), self.shape, outputs)
        head = (self.shape.hidden + 1) * outputs
        return {
            "log10_params": math.log10(params),
            "params_k": params / 1e3,
            "params_percent": 100.0 * (params - head) / self.shape.n_params,
        }

    def baseline(self) -> dict[str, Any]:
        """Return the usual layout of the space: every layer, a middle size, a learning rate of 1e-3."""
        config = self.space.centre()
        config["layers"] = list(range(self.shape.layers))
        config["learning_rate"] = 1e-3
        return self.space.normalise(config, partial=True)

    def prepare(self) -> None:
        """Obtain the sentences and read the encoder: once per machine, by pip where the cache has none."""
        _ = self._banks

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return the metrics of one layout, trained alone."""
        (found,) = self.evaluate_batch([config], [trial])
        if found is None:
            raise Stopped(f"trial {trial.number} was stopped")
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def evaluate_batch(self, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[Result]:
        """Return what came of every trial, trained in one pass; those with different fidelities in one pass each.

        A member that fails, or is stopped, leaves the others as they are.
        """
        found: list[Result] = [None] * len(configs)
        passes: dict[Recipe, list[int]] = {}
        for place, trial in enumerate(trials):
            passes.setdefault(self._recipe(trial.fidelity), []).append(place)
        for recipe, places in passes.items():
            own = self._pass(recipe, [configs[k] for k in places], [trials[k] for k in places])
            for place, one in zip(places, own, strict=True):
                found[place] = one
        return found

    def test(self, config: Mapping[str, Any], *, seed: int = 0) -> dict[str, float]:
        """Return the score on the test split of a layout trained in full. For members of the front, never to choose."""
        from tuner.objectives.peft.packs import Pack
        from tuner.objectives.peft.training import Run, evaluate, train

        run, banks = Run(self.layout(config), seed), self._banks
        (state,) = train(self._encoder, [run], self._recipe(None), banks["train"], None, lambda place, epoch: False)
        pack = Pack([run.layout], [state], self._encoder.device, ())
        return {"score": evaluate(self._encoder, pack, banks["test"])[0]}

    def _pass(self, recipe: Recipe, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[Result]:
        from tuner.objectives.peft.training import Run, train

        latest: dict[int, float] = {}
        spent_s = [0.0] * len(configs)
        stopped: set[int] = set()

        def report(place: int, epoch: Epoch) -> bool:
            spent_s[place] += epoch.seconds
            latest[place] = epoch.score if math.isfinite(epoch.loss) else math.nan
            try:
                trials[place].report(epoch.number, score=latest[place], loss=epoch.loss)
            except Stopped:
                stopped.add(place)
            return place in stopped

        runs = [Run(self.layout(config), trial.seed) for config, trial in zip(configs, trials, strict=True)]
        states = train(self._encoder, runs, recipe, self._banks["train"], self._banks["validation"], report)
        return [
            None
            if place in stopped
            else {"score": latest[place], "train_s": spent_s[place], **self._measured(run.layout, states[place])}
            | self.known(configs[place])
            for place, run in enumerate(runs)
        ]

    def _measured(self, layout: Layout, state: State) -> dict[str, float]:
        from tuner.objectives.peft import footprint

        bank = self._banks["train"]
        found = {"memory_mib": footprint.training_mib(self._encoder, layout, state, bank, self.settings.batch)}
        if self.settings.latency:
            found["latency_ms"] = footprint.latency_ms(self._encoder, layout, state, bank, self.settings.latency)
        return found

    def _recipe(self, fidelity: float | None) -> Recipe:
        from tuner.objectives.peft.training import Recipe

        own = self.settings
        most = len(self._banks["train"].data)
        spent = {} if fidelity is None else {own.fidelity: max(1, round(fidelity))}
        examples, epochs = spent.get("examples", own.examples), spent.get("epochs", own.epochs)
        return Recipe(epochs=epochs, examples=min(examples, most), batch=own.batch, outputs=self._outputs)

    @property
    def _outputs(self) -> int:
        if self.settings.data is not None:
            return self._texts.outputs
        return 1 if self._rates else 2

    @cached_property
    def _texts(self) -> texts.Texts:
        own = self.settings
        if own.data is not None:
            return texts.load_data(own.data, own.text, own.label)
        return texts.load_task(own.task, Path(own.archive) if own.archive is not None else None)

    @cached_property
    def _encoder(self) -> Encoder:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        half = self.settings.precision == "bf16" or (self.settings.precision == "auto" and device == "cuda")
        return models.load(self.folder).to(device, torch.bfloat16 if half else torch.float32)

    @cached_property
    def _banks(self) -> dict[str, Bank]:
        from tuner.objectives.peft.batches import Bank, corpus

        own = self.settings
        split = models.tokenizer(self.folder)
        limits = {"train": own.examples, "validation": own.validation, "test": own.validation}
        return {
            name: Bank(self._encoder, corpus(sentences, self._labels(name, limit)))
            for name, limit in limits.items()
            for sentences in [split(self._texts.splits[name].sentences[:limit], own.tokens)]
        }

    def _labels(self, name: str, limit: int | None) -> torch.Tensor:
        import torch

        labels = self._texts.splits[name].labels[:limit]
        return torch.tensor(labels, dtype=torch.int64 if self._outputs > 1 else torch.float32)


def build(
    *,
    model: str = models.MINILM,
    task: str = "polarity",
    data: str | None = None,
    text: str = "text",
    label: str = "label",
    space: str = "autopeft",
    examples: int = 2_000,
    validation: int = 2_000,
    epochs: int = 3,
    batch: int = 32,
    tokens: int = 64,
    fidelity: str = "epochs",
    precision: str = "auto",
    latency: int = 0,
    archive: str | None = None,
) -> Peft:
    """Return the objective.

    Args:
        model: "minilm" (with `tuner[peft]`), a folder, or a name in the hub's cache: BERT, RoBERTa, DistilBERT.
        task: polarity, rating, amazon, nyt, tweets, amazon-rating, nyt-rating or tweets-rating.
        data: Instead of a task, a CSV or JSONL file, or a data set of Hugging Face on disk or in its cache.
        text: Its column with the sentences.
        label: Its column with classes or ratings.
        space: autopeft, lora, sparse-adapter, survey or everything.
        examples: Sentences to train on, at most.
        validation: Sentences to score on, at most, of the validation split and of the test split.
        epochs: Passes over them.
        batch: Sentences of a step.
        tokens: A sentence is cut behind so many.
        fidelity: What a trial's fidelity says, as in `fidelity: {parameter: epochs, min: 1, max: 9}`: epochs, examples.
        precision: fp32, bf16, or auto: bf16 on a GPU.
        latency: Sentences of a batch whose inference is timed; 0: none is.
        archive: A folder that holds the sentences' archive; None: the cache, or pip.

    Raises:
        UsageError: An option is none of these, or not positive.
        EnvironmentUnfitError: The model is not on this machine.
    """
    own = Settings(
        model=model,
        task=task,
        data=data,
        text=text,
        label=label,
        space=space,
        examples=examples,
        validation=validation,
        epochs=epochs,
        batch=batch,
        tokens=tokens,
        fidelity=fidelity,
        precision=precision,
        latency=latency,
        archive=archive,
    )
    _check(own)
    return Peft(own)


def _check(own: Settings) -> None:
    choices: Mapping[str, tuple[str, ...]] = {
        "task": tuple(texts.TASKS),
        "space": tuple(SPACES),
        "fidelity": ("epochs", "examples"),
        "precision": ("auto", "fp32", "bf16"),
    }
    for name, known in choices.items():
        if getattr(own, name) not in known:
            raise UsageError(f"{name} must be one of {', '.join(known)}, but got {getattr(own, name)!r}; name one")
    for name in ("examples", "validation", "epochs", "batch", "tokens"):
        if not isinstance(getattr(own, name), int) or getattr(own, name) < 1:
            raise UsageError(f"{name} must be a whole number from 1, but got {getattr(own, name)!r}; raise it")
    if own.tokens < 3:
        raise UsageError(f"tokens must be at least 3, two of them are special, but got {own.tokens}; raise it")
