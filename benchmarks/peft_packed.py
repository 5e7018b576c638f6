"""Layouts trained an hour: K at once, against one at a time through the `peft` library; same data, steps and device.

    python benchmarks/peft_packed.py                                       # two cores: 128 sentences
    python benchmarks/peft_packed.py --sizes 1,8,32,64 --examples 2000               # a GPU

The layouts are LoRA of random rank, targets, layers and learning rate, which `peft` has too. Its loop is the usual one:
the transformers model with fused attention, dropout off, batches padded to their longest sentence, bf16 autocast and
fused AdamW on a GPU. Both sides take the same batches, in the same order, and score the same validation sentences after
every epoch. Then: how far the losses of a packed layout are from those of the same layout alone, and how far those in
bf16 are from those in float32. What a GPU does in a step: `peft_profile.py`.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from tuner.objectives.peft import models, snippets
from tuner.objectives.peft.batches import Bank, Corpus, chunks, corpus
from tuner.objectives.peft.layouts import TARGETS, layout_of
from tuner.objectives.peft.steps import schedule
from tuner.objectives.peft.training import Epoch, Recipe, Run, train

_MODULES = {
    "query": r"attention\.self\.query",
    "key": r"attention\.self\.key",
    "value": r"attention\.self\.value",
    "output": r"attention\.output\.dense",
    "up": r"intermediate\.dense",
    "down": r"output\.dense",
}


@dataclass(frozen=True)
class Bench:
    """What everything is measured with."""

    folder: Path
    device: torch.device
    dtype: torch.dtype
    classes: tuple[int, ...] | None
    training: Corpus
    validation: Corpus
    recipe: Recipe
    width: int | None = None
    capture: bool | None = None

    @property
    def how(self) -> dict[str, Any]:
        """How layouts are packed."""
        return {"classes": self.classes, "width": self.width, "capture": self.capture}

    def encoder(self, dtype: torch.dtype | None = None):  # type: ignore[no-untyped-def]
        return models.load(self.folder).to(self.device, dtype or self.dtype)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def prepared(args: argparse.Namespace) -> Bench:
    folder = models.find(args.model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rated = [one for one in snippets.read("movies", args.data) if abs(one.rating) > snippets.NEUTRAL]
    parts = snippets.split(rated)
    split = models.tokenizer(folder)

    def tokens(name: str, n: int) -> Corpus:
        chosen = parts[name][:n]
        return corpus(split([one.text for one in chosen], 64), torch.tensor([int(one.rating > 0) for one in chosen]))

    return Bench(
        folder=folder,
        device=device,
        dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
        classes=tuple(map(int, args.classes.split(","))) if args.classes else None,
        training=tokens("train", args.examples),
        validation=tokens("validation", args.examples),
        recipe=Recipe(epochs=args.epochs, examples=args.examples),
        width=args.width,
        capture={"auto": None, "always": True, "never": False}[args.capture],
    )


def layouts(n: int, bench: Bench) -> list[Run]:
    draw, shape = random.Random(0), models.shape_of(bench.folder)
    runs = []
    for seed in range(n):
        config = {
            "rank": draw.choice([1, 2, 4, 8, 16, 32, 64]),
            "targets": draw.sample(TARGETS, draw.randint(1, 6)),
            "layers": draw.sample(range(shape.layers), draw.randint(1, shape.layers)),
            "learning_rate": 10 ** draw.uniform(-4, -2),
        }
        runs.append(Run(layout_of(config, shape), seed))
    return runs


def nothing(place: int, epoch: Epoch) -> bool:
    return False


def timed(bench: Bench, run: Callable[[], object]) -> float:
    """Seconds: by the wall clock on a GPU, of this process's threads on a CPU, which others may be using too."""
    clock = time.perf_counter if bench.device.type == "cuda" else time.process_time
    bench.wait()
    started = clock()
    run()
    bench.wait()
    return clock() - started


# --- one at a time, through the library ---


def loop(bench: Bench, runs: Sequence[Run]) -> float:
    """Seconds of one layout after another, with `peft`."""
    from transformers import AutoModel

    base = AutoModel.from_pretrained(bench.folder, attn_implementation="sdpa", local_files_only=True).float()
    one_layout(bench, base, runs[0], steps=3)
    return timed(bench, lambda: [one_layout(bench, base, run) for run in runs])


def one_layout(bench: Bench, base: torch.nn.Module, run: Run, steps: int = 0) -> float:
    from peft import LoraConfig, get_peft_model

    layout, cuda = run.layout, bench.device.type == "cuda"
    where = "|".join(str(layer) for layer, rank in enumerate(layout.rank) if rank)
    what = "|".join(_MODULES[target] for target in layout.targets)
    config = LoraConfig(r=max(layout.rank), lora_alpha=layout.alpha, target_modules=rf".*layer\.({where})\.({what})")
    model = get_peft_model(copy.deepcopy(base), config).to(bench.device).eval()  # eval: no dropout
    head = torch.nn.Linear(model.config.hidden_size, 2).to(bench.device)
    trained = [p for p in model.parameters() if p.requires_grad] + list(head.parameters())
    optimizer = torch.optim.AdamW(trained, lr=layout.learning_rate, weight_decay=0.0, fused=cuda)
    shuffle = torch.Generator().manual_seed(run.seed)
    total = steps or bench.recipe.epochs * bench.recipe.steps
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, total, bench.recipe.warmup))

    def outputs(data: Corpus, chosen: torch.Tensor) -> torch.Tensor:
        rows = [data.tokens[s : s + n] for s, n in zip(data.starts[chosen], data.lengths[chosen], strict=True)]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(bench.device)
        mask = (ids != 0).long()
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=cuda):
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return head(pooled).float()

    right, done = 0, 0
    for _ in range(bench.recipe.epochs):
        order = torch.randperm(bench.recipe.examples, generator=shuffle)
        for chosen in order.split(bench.recipe.batch)[: bench.recipe.steps]:
            loss = F.cross_entropy(outputs(bench.training, chosen), bench.training.labels[chosen].to(bench.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            done += 1
            if done == steps:
                return 0.0
        with torch.no_grad():
            found = [
                (outputs(bench.validation, chunk).argmax(1).cpu() == bench.validation.labels[chunk]).sum()
                for chunk in chunks(bench.validation.lengths, 8_192)
            ]
        right = int(sum(found))
    return right / len(bench.validation)


# --- K at once ---


def packed(bench: Bench, sizes: Sequence[int], repeats: int) -> dict[int, tuple[float, float]]:
    """K -> seconds of a pack of K layouts (mean of the repeats), and MiB at the peak."""
    encoder = bench.encoder()
    training, validation = Bank(encoder, bench.training), Bank(encoder, bench.validation)
    both = (training, validation)
    seconds = timed(bench, lambda: [bank.states(encoder.shape.layers) for bank in both])
    print(f"the frozen encoder's hidden states, once for all layouts: {seconds:.2f} s")
    runs, found = layouts(max(sizes), bench), {}
    short = Recipe(epochs=1, examples=min(64, bench.recipe.examples))
    for size in sizes:
        train(encoder, runs[:size], short, *both, nothing, **bench.how)
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        groups = [runs[k : k + size] for k in range(0, max(size, min(repeats, len(runs))), size)]

        def once(own: Sequence[Run]) -> object:
            return train(encoder, own, bench.recipe, *both, nothing, **bench.how)

        times = [timed(bench, partial(once, own)) for own in groups]
        peak = torch.cuda.max_memory_allocated() / 2**20 if bench.device.type == "cuda" else math.nan
        found[size] = (sum(times) / len(times), peak)
    return found


Told = dict[tuple[int, int], Epoch]


def told(bench: Bench, dtype: torch.dtype, packs: Sequence[Sequence[int]], *, stop: bool = False) -> Told:
    """What layouts reported, by number and epoch, one pack after another; with `stop` every second ends after one."""
    encoder = bench.encoder(dtype)
    training, validation = Bank(encoder, bench.training), Bank(encoder, bench.validation)
    runs, seen = layouts(max(map(max, packs)) + 1, bench), {}
    for pack in packs:

        def report(place: int, epoch: Epoch, pack: Sequence[int] = pack) -> bool:
            seen[pack[place], epoch.number] = epoch
            return stop and place % 2 == 0

        train(encoder, [runs[k] for k in pack], bench.recipe, training, validation, report, **bench.how)
    return seen


def apart(a: Told, b: Told) -> str:
    """How far two are apart, where both have something."""
    both = a.keys() & b.keys()
    losses = [abs(a[key].loss - b[key].loss) for key in both]
    scores = [abs(a[key].score - b[key].score) for key in both]
    mean = sum(losses) / len(losses)
    return f"losses {mean:.1e} on average, {max(losses):.1e} at most, scores {max(scores):.1e} at most"


def equality(bench: Bench, size: int) -> None:
    """Packed against alone, the others when half are stopped after an epoch, and bf16 against float32."""
    together, singly = [list(range(size))], [[k] for k in range(size)]
    alone: dict[torch.dtype, Told] = {}
    for dtype in (torch.float32, torch.bfloat16) if bench.device.type == "cuda" else (torch.float32,):
        alone[dtype], packed = told(bench, dtype, singly), told(bench, dtype, together)
        print(f"{dtype}, {size} packed against alone: {apart(packed, alone[dtype])}")
        print(f"  half stopped after an epoch: {apart(told(bench, dtype, together, stop=True), packed)}")
    if len(alone) > 1:
        print(f"alone, bf16 against float32: {apart(alone[torch.float32], alone[torch.bfloat16])}")
        print(f"alone, bf16 once more: {apart(told(bench, torch.bfloat16, singly), alone[torch.bfloat16])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default=models.MINILM)
    parser.add_argument("--data", type=Path, default=None, help="a folder that holds the archive of sentences")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sizes", default="1,4,8")
    parser.add_argument("--classes", default=None, help="bounds of sizes padded together: 24,96; -1: all")
    parser.add_argument("--width", type=int, default=None, help="layouts that take a step together; none: all on a GPU")
    parser.add_argument("--capture", choices=("auto", "always", "never"), default="auto", help="CUDA graphs of steps")
    parser.add_argument("--loop", type=int, default=4, help="layouts through `peft`; 0: none")
    parser.add_argument("--equal", type=int, default=4, help="layouts that are compared with themselves alone; 0: none")
    args = parser.parse_args()
    bench = prepared(args)
    sizes = [int(size) for size in args.sizes.split(",")]
    name = torch.cuda.get_device_name() if bench.device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{name}: {args.examples} sentences, {args.epochs} epochs of {bench.recipe.steps} steps, {bench.dtype}")
    slow = math.nan
    if args.loop:
        slow = loop(bench, layouts(args.loop, bench)) / args.loop
        print(f"through peft, one at a time: {slow:.2f} s a layout, {3600 / slow:,.0f} an hour")
    for size, (seconds, peak) in packed(bench, sizes, args.loop or 4).items():
        each = seconds / size
        print(f"K = {size:3d}: {seconds:.2f} s, {3600 / each:,.0f} an hour, {slow / each:.1f} times, {peak:,.0f} MiB")
    if args.equal:
        equality(bench, args.equal)


if __name__ == "__main__":
    main()
