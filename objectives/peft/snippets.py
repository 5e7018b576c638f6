"""Labelled sentences: snippets of movie reviews, Amazon reviews, New York Times editorials and tweets, rated by people.

Source: C.J. Hutto and E. Gilbert, "VADER", ICWSM 2014 (MIT licence), inside the source distribution of vaderSentiment
3.3.2. Each sentence has the mean of 10 to 20 people's ratings from -4 to 4. Polarity is the sign of a rating beyond
0.5; between -0.5 and 0.5 people saw none, and the sentence is left out.

Splits are fixed: whole documents, at random, so that no split has a sentence of a document, or a text, that another
has.
"""

from __future__ import annotations

import hashlib
import html
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tuner.objectives.compression.checkpoints import cache_dir

from tuner.errors import EnvironmentUnfitError

RELEASE = "vaderSentiment==3.3.2"
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FILES = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
SOURCES = tuple(_FILES)
NEUTRAL = 0.5
SPLIT_SEED = 20_240
SHARE = 0.2
MOST = 2_000
_LIMIT_S = 180


@dataclass(frozen=True, slots=True)
class Rated:
    """One sentence.

    Attributes:
        text: It.
        rating: The mean of what people said, -4 to 4.
        document: Where it comes from.
    """

    text: str
    rating: float
    document: str


def obtain(folder: Path | None = None) -> Path:
    """Return the archive; when the cache has none, pip downloads it first.

    Args:
        folder: Looked into before the cache.

    Raises:
        EnvironmentUnfitError: It cannot be downloaded, or is not what it should be.
    """
    for place in [*([folder] if folder is not None else []), cache_dir() / "peft"]:
        if _intact(place / ARCHIVE):
            return place / ARCHIVE
    target = cache_dir() / "peft" / ARCHIVE
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            _download(Path(scratch), target)
            os.replace(Path(scratch) / ARCHIVE, target)
    except OSError as error:
        raise EnvironmentUnfitError(
            f"the cache folder must be writable, but {target.parent}: {error.strerror}; set TUNER_CACHE to one that is"
        ) from error
    return target


def _intact(file: Path) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == SHA256
    except OSError:
        return False


def _download(scratch: Path, target: Path) -> None:
    """Have pip fetch the source distribution, and check it."""
    listed = scratch / "requirements.txt"
    listed.write_text(f"{RELEASE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", str(scratch)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, "-r", str(listed)]
    instead = f"put {ARCHIVE} at {target}, or name a data set of your own with `data:`"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise EnvironmentUnfitError(f"pip did not download {RELEASE} in {_LIMIT_S} s; {instead}") from None
    if done.returncode or not _intact(scratch / ARCHIVE):
        said = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "")
        raise EnvironmentUnfitError(f"pip could not download {RELEASE} ({said or 'a wrong checksum'}); {instead}")


def read(source: str, folder: Path | None = None) -> list[Rated]:
    """Return the sentences of a source, each text once, in the order of the file.

    Raises:
        EnvironmentUnfitError: The archive cannot be had.
    """
    with tarfile.open(obtain(folder)) as outer:
        inner = outer.extractfile(_INNER)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as archive:
            file = archive.extractfile(f"hutto_ICWSM_2014/{_FILES[source]}")
            assert file is not None
            content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    found: dict[str, Rated] = {}
    for line in text.splitlines():
        number, _, rest = line.partition("\t")
        rating, _, sentence = rest.partition("\t")
        sentence = html.unescape(sentence).strip()
        if sentence:
            found.setdefault(sentence, Rated(sentence, float(rating), number.strip().partition("_")[0]))
    return list(found.values())


def split(rated: Sequence[Rated]) -> dict[str, list[Rated]]:
    """Return train, validation and test: a fifth each for the last two, at most 2,000, in random order.

    Documents are whole, so that a split may be larger by the rest of one.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    documents = sorted({one.document for one in rated})
    by_document: dict[str, list[Rated]] = {document: [] for document in documents}
    for one in rated:
        by_document[one.document].append(one)
    wanted = min(MOST, round(SHARE * len(rated)))
    parts: dict[str, list[Rated]] = {"test": [], "validation": [], "train": []}
    for place in rng.permutation(len(documents)):
        name = next((name for name in ("test", "validation") if len(parts[name]) < wanted), "train")
        parts[name] += by_document[documents[place]]
    return {name: [part[i] for i in rng.permutation(len(part))] for name, part in parts.items()}
