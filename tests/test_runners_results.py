"""Finding and reducing metrics: statistics, JSON in text, offline runs, and the kinds that logs speak of."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.runners.failures import OomCounter, exit_failure, last_lines, signal_name, tail, text_kind
from tuner.runners.reports import ReportLog, ReportTail
from tuner.runners.results import (
    BadMetricError,
    Evidence,
    last_json_object,
    numbers,
    read_outcome,
    reduce,
    stdout_value,
)
from tuner.runners.wandb_files import read_offline_run
from tuner.trial import Metric

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=30), st.floats(0, 100))
def test_statistics_agree_with_a_reference(values: list[float], percent: float) -> None:
    assert reduce("m", values, "last") == values[-1]
    assert reduce("m", values, "min") == min(values)
    assert reduce("m", values, "max") == max(values)
    small = [value / 1e150 for value in values]
    assert reduce("m", small, "mean") == pytest.approx(statistics.fmean(small))
    assert reduce("m", small, "median") == pytest.approx(statistics.median(small), rel=1e-9, abs=1e-9)
    expected = float(np.percentile(small, percent))
    assert reduce("m", small, f"p{percent}") == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_spoils_a_metric(value: float) -> None:
    with pytest.raises(BadMetricError, match="finite"):
        reduce("m", [1.0, value, 2.0], "median")


@pytest.mark.parametrize("value", ["1", None, {}, [], [[1], "x"], 10**400])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(BadMetricError, match="'m'"):
        numbers("m", value)


def test_numbers_of_lists_and_booleans() -> None:
    assert numbers("m", [[1, 2.5], (True,)]) == [1.0, 2.5, 1.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("no { json }", None),
        ('{"a": 1}\n{"a": 2}\nend', {"a": 2}),
        ('{"a": 1}\n{"a": 2', {"a": 1}),
        ('10%\r20%\r{"a": 3}', {"a": 3}),
        ('{\n  "a": {\n    "b": 1\n  }\n}\n', {"a": {"b": 1}}),
        ('{"a":\n{"b": 2}\n}', {"a": {"b": 2}}),
        ('result: {"a": 1}', None),
        ("{" * 5000, None),
        ("{\n" * 5000, None),
        ('{"a":' * 100_000, None),
    ],
)
def test_the_last_json_object(text: str, expected: object) -> None:
    assert last_json_object(text) == expected


keys = st.text(max_size=5)
objects = st.dictionaries(keys, st.one_of(st.integers(), st.text(max_size=9), st.dictionaries(keys, st.integers())))


@settings(deadline=None)
@given(st.lists(objects, min_size=1, max_size=5), st.sampled_from([None, 2]))
def test_any_last_json_object_is_found(found: list[dict[str, Any]], indent: int | None) -> None:
    text = "some log\n" + "\nmore\n".join(json.dumps(item, indent=indent) for item in found) + "\nbye\n"
    assert last_json_object(text) == found[-1]


def test_stdout_patterns_on_a_sample() -> None:
    text = 'epoch 1 loss=0.5\nepoch 2 loss=0.25\n{"acc": 0.9}\n'
    assert stdout_value("loss", r"loss=(\S+)", text) == 0.25
    assert stdout_value("loss", r"loss=(\S+)", text, statistic="max") == 0.5
    assert stdout_value("acc", "json", text) == 0.9
    assert stdout_value("f1", "json", text) is None
    with pytest.raises(BadMetricError, match="no number"):
        stdout_value("epoch", r"epoch (\d loss)", text)


def test_values_without_a_step_win_over_those_with_one() -> None:
    log = ReportLog()
    log.add(1, {"loss": 5.0, "best": 1.0, "note": "text"})
    log.add(None, {"loss": 3.0})
    log.add(2, {"loss": 4.0, "best": math.nan})
    found = read_outcome([Metric(name="loss", goal="minimize")], Evidence(reports=log))
    assert found.metrics["loss"] == 3.0
    assert log.latest() == {"loss": 3.0}  # of `best` the last value is not finite


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=12), st.integers(0, 12))
def test_a_report_file_read_in_any_pieces_gives_the_same(tmp_path_factory: Any, cuts: list[int], n: int) -> None:
    path = tmp_path_factory.mktemp("reports") / "report.jsonl"
    data = b"".join(json.dumps({"step": i, "loss": i / 7}).encode() + b"\n" for i in range(n))[:-1]
    log = ReportLog()
    reader = ReportTail(path, log)
    found = reader.read()
    with open(path, "ab", buffering=0) as file:
        for cut in cuts:
            file.write(data[:cut])
            data = data[cut:]
            found += reader.read()
        file.write(data)
    found += reader.read(ended=True)
    assert found == [(i, {"loss": i / 7}) for i in range(n)]
    assert reader.read(ended=True) == []


def test_a_run_of_wandb_whose_writer_was_killed_can_be_read(tmp_path: Path) -> None:
    assert read_offline_run(tmp_path) is None
    folder = tmp_path / "wandb" / "offline-run-20260101_000000-abc"
    folder.mkdir(parents=True)
    item = _field(2, b"loss") + _field(16, b"0.25")
    nested = _field(2, b"val") + _field(2, b"f1") + _field(16, b"[1, 2]")
    own = _field(1, b"_step") + _field(16, b"3")
    history = _record(_field(2, _field(1, item) + _field(1, own)))
    long = _record(
        _field(3, _field(1, nested) + _field(1, _field(1, b"text") + _field(16, b'"' + b"x" * 70_000 + b'"')))
    )
    data = _log([history, long, _record(_field(3, _field(1, item)))])
    store = folder / "run-abc.wandb"
    store.write_bytes(data)
    run = read_offline_run(tmp_path)
    assert run is not None and run.history == {"loss": [0.25]}
    assert run.summary["loss"] == 0.25 and run.summary["val.f1"] == [1, 2] and len(run.summary["text"]) == 70_000
    for length in range(0, len(data), 997):
        store.write_bytes(data[:length])
        assert read_offline_run(tmp_path) is not None
    (folder / "files").mkdir()
    (folder / "files" / "wandb-summary.json").write_text('{"loss": 0.125, "_runtime": 3}')
    run = read_offline_run(tmp_path)
    assert run is not None and run.summary["loss"] == 0.125 and "_runtime" not in run.summary


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_wandb_runs(tmp_path_factory: Any, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes") / "wandb" / "offline-run-1-a"
    folder.mkdir(parents=True)
    (folder / "run-a.wandb").write_bytes(b":W&B\0\0\0" + _block(1, data))
    assert read_offline_run(folder.parent.parent) is not None


@pytest.mark.parametrize(
    ("code", "killed", "kind"),
    [
        (1, None, "crash"),
        (-11, None, "signal"),
        (-9, True, "oom_host"),
        (-9, False, "signal"),
        (-9, None, "signal"),
        (137, True, "oom_host"),
        (137, False, "signal"),
        (137, None, "oom_host"),
    ],
)
def test_kinds_by_exit_code(code: int, killed: bool | None, kind: str) -> None:
    assert exit_failure(code, "", killed_for_memory=killed).kind == kind


def test_signals_have_names() -> None:
    assert signal_name(9) == "SIGKILL" and signal_name(250) == "signal 250"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ValueError: shapes do not match", None),
        ("RuntimeError: CUDA error: out of memory", "oom_gpu"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7 TiB", "oom_host"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "oom_host"),
        ("torch.distributed.DistBackendError: NCCL error in: x", "infra"),
        ("CUDA error: uncorrectable ECC error encountered", "infra"),
        ("CUDA error: all CUDA-capable devices are busy: device(s) is/are busy or unavailable", "infra"),
    ],
)
def test_kinds_by_text(text: str, kind: str | None) -> None:
    assert text_kind(text) == kind


def test_logs_are_read_from_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("x" * 100_000 + "\n 10%\r 99%\r\n\nend\n")
    assert last_lines(tail(log), 2) == [" 99%", "end"]


def test_the_counter_of_kills_for_memory_stands_still() -> None:
    assert OomCounter().moved() in (None, False)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _record(content: bytes) -> bytes:
    return _varint(1 << 3) + _varint(300) + content  # num: 300


def _block(kind: int, body: bytes) -> bytes:
    return b"\0\0\0\0" + len(body).to_bytes(2, "little") + bytes([kind]) + body


def _log(records: list[bytes]) -> bytes:
    """A LevelDB log: each record split over blocks of 32 KiB, blocks padded with zeros."""
    data = b":W&B\0\0\0"
    for record in records:
        first = True
        while first or record:
            left = 32_768 - len(data) % 32_768
            if left < 7:
                data += b"\0" * left
                continue
            body, record = record[: left - 7], record[left - 7 :]
            kind = (1 if first else 4) if not record else (2 if first else 3)
            data += _block(kind, body)
            first = False
    return data
