"""What a GPU does in a step of K layouts: seconds, kernels, what they are, and how near they come to what it can do.

    python benchmarks/peft_profile.py --sizes 32,64 --classes "24,96;999;-1"

The layouts are those of `peft_packed.py`. For every number of layouts and every way of stacking them (bounds of sizes
that are padded together; -1: everything with everything, nothing picked out): a step captured as a CUDA graph and, with
the first way, as it comes. Traffic is counted from below: what autograd keeps is written once and read once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tuner.objectives.peft import models
from tuner.objectives.peft.batches import Bank
from tuner.objectives.peft.encoder import Encoder
from tuner.objectives.peft.packs import Pack
from tuner.objectives.peft.steps import Steps, Work, losses_of, rates_of
from tuner.objectives.peft.training import begin

from benchmarks.peft_packed import Bench, layouts, prepared, timed

_STEPS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default=models.MINILM)
    parser.add_argument("--data", type=Path, default=None, help="a folder that holds the archive of sentences")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--sizes", default="32,64")
    parser.add_argument("--classes", default="24,96;999;-1")
    parser.add_argument("--top", type=int, default=12, help="kernels that are named")
    args = parser.parse_args()
    args.epochs, args.width, args.capture = 1, None, "never"
    stackings = [tuple(map(int, one.split(","))) for one in args.classes.split(";")]
    args.classes = None
    bench = prepared(args)
    encoder = bench.encoder()
    training = Bank(encoder, bench.training)
    training.states(encoder.shape.layers)
    for size in map(int, args.sizes.split(",")):
        for classes in stackings:
            both = bench.device.type == "cuda" and classes == stackings[0]
            for capture in (False, True) if both else (bench.device.type == "cuda",):
                one(bench, encoder, training, size, classes, capture=capture, top=args.top)


def one(
    bench: Bench, encoder: Encoder, training: Bank, size: int, classes: tuple[int, ...], *, capture: bool, top: int
) -> None:
    """Print what a step of `size` layouts costs."""
    runs = layouts(size, bench)
    runs.sort(key=lambda run: run.layout.first())
    pack = Pack([r.layout for r in runs], begin(encoder, runs, bench.recipe, training), bench.device, classes)
    shuffle = torch.Generator().manual_seed(0)
    batches = torch.randint(len(bench.training), (size, _STEPS, bench.recipe.batch), generator=shuffle)
    work = Work(batches=batches, rates=rates_of(0, _STEPS, _STEPS, 0.1).to(bench.device))
    steps = Steps(encoder, pack, training, capture=capture)
    cuda = bench.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    first_s = timed(bench, lambda: steps.epoch(work))
    step_s = timed(bench, lambda: steps.epoch(work)) / _STEPS
    peak = torch.cuda.max_memory_reserved() / 2**20 if cuda else float("nan")
    traffic = 2 * _kept(encoder, training, pack, batches[:, 0]) / step_s / 1e9
    each = float(bench.training.lengths[batches].sum()) / _STEPS / size
    inside = [(w.qkv_weight, w.out_weight, w.up_weight, w.down_weight) for w in encoder.layers]
    entered = zip(inside, pack.entered, strict=True)
    flops = sum(4.0 * sum(w.numel() for w in ws) * each * k for ws, k in entered)  # forward, and back to the inputs
    print(
        f"K = {size}, classes {classes}, {'captured' if capture else 'as it comes'}: {step_s * 1e3:.2f} ms a step "
        f"(the first {_STEPS}: {first_s:.2f} s), {peak:,.0f} MiB, {pack.flat.numel() / 1e6:.1f} M numbers trained\n"
        f"  frozen products {flops / step_s / 1e12:.0f} TFLOP/s of real tokens, traffic from {traffic:,.0f} GB/s",
        flush=True,
    )
    if cuda:
        _kernels(bench, steps, work, step_s, top)


def _kept(encoder: Encoder, training: Bank, pack: Pack, chosen: torch.Tensor) -> int:
    """Bytes that autograd keeps of a step's forward pass, but for the frozen weights."""
    frozen = {getattr(w, name).untyped_storage().data_ptr() for w in encoder.layers for name in w.__slots__}
    held: dict[int, int] = {}

    def keep(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in frozen:
            held[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        losses = losses_of(encoder, pack, training, chosen)
    del losses
    return sum(held.values())


def _kernels(bench: Bench, steps: Steps, work: Work, step_s: float, top: int) -> None:
    """How many kernels run in a step, for how long, and which."""
    few = Work(batches=work.batches[:, :8], rates=work.rates[:8])
    if steps._graph is not None:
        few = work
    n = few.batches.shape[1]
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            steps.epoch(few)
            bench.wait()
    except RuntimeError as error:
        print(f"  no profile: {error}")
        return
    kinds: dict[str, float] = {}
    names: dict[str, tuple[float, int]] = {}
    for event in seen.key_averages():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            seconds = event.self_device_time_total / 1e6 / n
            kinds[_kind(event.key)] = kinds.get(_kind(event.key), 0.0) + seconds
            names[event.key] = (seconds, event.count)
    busy = sum(kinds.values())
    count = sum(many for _, many in names.values()) / n
    shares = ", ".join(f"{name} {value / busy:.0%}" for name, value in sorted(kinds.items(), key=lambda i: -i[1]))
    print(f"  {count:,.0f} kernels a step run for {busy * 1e3:.2f} ms, {busy / step_s:.0%} of it; of that {shares}")
    for name, (seconds, many) in sorted(names.items(), key=lambda item: -item[1][0])[:top]:
        print(
            f"    {seconds / busy:5.1%} {many / n:6.0f} a step, {seconds * n / many * 1e6:6.1f} us each: {name[:110]}"
        )


def _kind(kernel: str) -> str:
    kinds = {
        "products": ("gemm", "cutlass", "nvjet", "cublas", "splitK", "sm90_"),
        "attention": ("fmha", "attention", "flash"),
        "spread and gather": ("index", "scatter", "gather"),
        "normalisation": ("norm", "Norm"),
        "copies": ("Memcpy", "Memset", "copy", "Copy", "Cat"),
    }
    return next((kind for kind, marks in kinds.items() if any(mark in kernel for mark in marks)), "element by element")


if __name__ == "__main__":
    main()
