"""Learners: small models that are trained for real, an epoch at a time, as far as somebody asks and no further.

    digits    networks of scikit-learn on its 8 x 8 digits: 600 to learn from, 597 to judge by
    text      next-character models in torch on the topics of Python's own help (`pydoc_data.topics`, 465,000
              characters): an epoch is 4,096 characters, 2,000 that were held out judge

Both report the log loss on what was held out (10 at most, and from where training diverges), the share that was right,
and the weights in thousands. Training follows from the configuration and the seed alone, so curves may be kept in a
folder and played again.
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS, WORST = 27, 10.0

_BOTH = {
    "rate": {"min": 1e-5, "max": 0.3, "log": True},
    "decay": {"min": 1e-7, "max": 1.0, "log": True},
    "momentum": {"min": 0.5, "max": 0.99},
    "batch": {"type": "int", "min": 8, "max": 256, "log": True},
    "width": {"type": "int", "min": 8, "max": 96, "log": True},
    "depth": {"type": "int", "min": 1, "max": 3},
    "activation": {"values": ["relu", "tanh", "logistic"]},
    "epochs": EPOCHS,
}
_TEXT = {
    **_BOTH,
    "batch": {"type": "int", "min": 64, "max": 512, "log": True},
    "embedding": {"type": "int", "min": 2, "max": 32, "log": True},
    "context": {"type": "int", "min": 1, "max": 12},
    "dropout": {"min": 0.0, "max": 0.6},
}
PARAMETERS: dict[str, dict[str, Any]] = {"digits": _BOTH, "text": _TEXT}

Step = Callable[[], tuple[float, float]]
"""Trains for one more epoch: the loss and the share that was right after it."""


def digits(config: Mapping[str, Any], seed: int) -> Step:
    """A network on digits that nobody has trained yet."""
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    train, judge, X = order[:600], order[1200:], X / 16
    model = MLPClassifier(
        (config["width"],) * config["depth"], activation=config["activation"], alpha=config["decay"],
        batch_size=config["batch"], learning_rate_init=config["rate"], beta_1=config["momentum"], random_state=seed,
    )  # fmt: skip

    def epoch() -> tuple[float, float]:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model.partial_fit(X[train], y[train], classes=np.arange(10))
            chances = model.predict_proba(X[judge])
            return float(log_loss(y[judge], chances)), float((chances.argmax(axis=1) == y[judge]).mean())

    return epoch


_LETTERS = 63
_JUDGED, _READ = 2000, 4096
_LONGEST = 12


@cache
def _text() -> np.ndarray:
    """The topics as numbers of characters, the most frequent first, all rare ones the same, shape (n,)."""
    from pydoc_data.topics import topics

    text = "".join(topics[name] for name in sorted(topics))
    number = {letter: k for k, (letter, _) in enumerate(Counter(text).most_common(_LETTERS))}
    return np.array([number.get(letter, _LETTERS) for letter in text])


def text(config: Mapping[str, Any], seed: int) -> Step:
    """A network that reads some characters and says which comes next, which nobody has trained yet."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    numbers, context = torch.as_tensor(_text()), config["context"]
    draw = torch.Generator().manual_seed(seed)
    cut = len(numbers) * 9 // 10
    judged = torch.randint(cut + _LONGEST, len(numbers), (_JUDGED,), generator=draw)
    before = torch.arange(-context, 0)
    torch.manual_seed(seed)
    sizes = [context * config["embedding"], *[config["width"]] * config["depth"]]
    bend = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}[config["activation"]]
    hidden = [
        layer
        for a, b in itertools.pairwise(sizes)
        for layer in (nn.Linear(a, b), bend(), nn.Dropout(config["dropout"]))
    ]
    model = nn.Sequential(
        nn.Embedding(_LETTERS + 1, config["embedding"]), nn.Flatten(), *hidden, nn.Linear(sizes[-1], _LETTERS + 1)
    )
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config["rate"], betas=(config["momentum"], 0.999), weight_decay=config["decay"]
    )
    criterion = nn.CrossEntropyLoss()

    def epoch() -> tuple[float, float]:
        model.train()
        for places in torch.randint(_LONGEST, cut, (_READ,), generator=draw).split(config["batch"]):
            optimiser.zero_grad()
            criterion(model(numbers[places[:, None] + before]), numbers[places]).backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            said = model(numbers[judged[:, None] + before])
            right = (said.argmax(dim=1) == numbers[judged]).double().mean()
            return float(criterion(said, numbers[judged])), float(right)

    return epoch


LEARNERS: dict[str, Callable[[Mapping[str, Any], int], Step]] = {"digits": digits, "text": text}


def kparams(task: str, config: Mapping[str, Any]) -> float:
    """Weights of a network, in thousands."""
    ends, extra = ((64, 10), 0) if task == "digits" else ((_width(config), _LETTERS + 1), _LETTERS + 1)
    sizes = [ends[0], *[config["width"]] * config["depth"], ends[1]]
    return (sum(n * m + m for n, m in itertools.pairwise(sizes)) + extra * config.get("embedding", 0)) / 1000


def _width(config: Mapping[str, Any]) -> int:
    return int(config["context"] * config["embedding"])


@dataclass(slots=True)
class Learners:
    """The curves of one task under one seed, trained when somebody asks for them.

    Attributes:
        task: digits or text.
        seed: Of the data's split and of the training.
        folder: Where curves are kept; None to keep them in memory alone.
    """

    task: str
    seed: int
    folder: Path | None = None
    _steps: dict[str, tuple[Step, int]] = field(default_factory=dict)
    _curves: dict[str, list[list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None and self._file.is_file():
            self._curves = json.loads(self._file.read_text())

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.task}-{self.seed}.json"

    def keep(self) -> None:
        """Write down what was trained."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._curves))

    def __call__(self, config: Mapping[str, Any], epoch: int) -> dict[str, float]:
        """What a network reports after so many epochs."""
        key = repr(sorted((name, value) for name, value in config.items() if name != "epochs"))
        curve = self._curves.setdefault(key, [])
        while len(curve) < epoch:
            curve.append([WORST, 0.0] if curve and curve[-1][0] == WORST else list(self._next(key, config, len(curve))))
        loss, right = curve[epoch - 1]
        return {"loss": loss, "accuracy": right, "kparams": kparams(self.task, config)}

    def _next(self, key: str, config: Mapping[str, Any], done: int) -> tuple[float, float]:
        step, trained = self._steps.get(key) or (LEARNERS[self.task](config, self.seed), 0)
        try:
            for _ in range(trained, done + 1):
                loss, right = step()
        except ValueError:  # its weights are not finite
            return WORST, 0.0
        self._steps[key] = step, done + 1
        return (min(loss, WORST), right) if math.isfinite(loss) else (WORST, 0.0)
