"""The store under faults: kills at every write, torn files, full disks, damage, races, clocks; all through `Study`."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import tuner
from tests.surroundings import environment
from tuner import schema
from tuner.errors import LockError, StoreError
from tuner.sessions import find_study, open_or_create
from tuner.study import Study
from tuner.sweep import load_sweep


def sweep(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "bowl",
        "metrics": {"loss": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}, "k": {"values": ["a", "b"]}},
        "command": ["true"],
        "search": "random",
        "baseline": {"x": 0.5, "k": "a"},
    }
    return {**base, **changes}


def step(study: Study) -> None:
    proposal = study.ask()
    study.tell(proposal.trial, {"loss": proposal.config["x"] ** 2})


def completed(study: Study) -> dict[int, Any]:
    return {r.trial: (r.config, dict(r.metrics), r.seed) for r in study.records(states=("completed",))}


def undisturbed(n: int) -> dict[int, Any]:
    study = Study.create(sweep())
    for _ in range(n):
        step(study)
    return completed(study)


def tuner_command(*words: str, cwd: Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    argv = [*prefix, sys.executable, "-m", "tuner", *words]
    return subprocess.run(argv, capture_output=True, text=True, env=environment(CI="1"), cwd=cwd, check=False)


# --- kills and torn files ---

DRIVER = """
import os, signal, sys
import sqlalchemy as sa
import tuner
from tests.test_store import step, sweep
from tuner.sessions import open_or_create
from tuner.sweep import load_sweep

def die_at(boundary):
    seen = 0
    def count(*_):
        nonlocal seen
        seen += 1
        if seen == boundary:
            os.kill(os.getpid(), signal.SIGKILL)
    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, count)

folder, boundaries = sys.argv[1], int(sys.argv[2])
loaded = load_sweep(sweep())
for boundary in range(1, boundaries + 1):
    child = os.fork()
    if child == 0:
        die_at(boundary)
        study = open_or_create(loaded, f"{folder}/{boundary}")
        while True:  # a report, and a trial that is tried again, among plain ones
            first, second = study.ask(), study.ask()
            study.report(first.trial, 1, {"loss": 2.0})
            study.fail(second.trial, "interrupted", "again")
            study.tell(first.trial, {"loss": first.config["x"] ** 2})
            step(study)
            study.spend(0.5)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def test_a_kill_at_any_write_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Killed before each statement and each commit, from the first table to the fifth trial."""
    boundaries, trials = 75, 8
    subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path), str(boundaries)], env=environment(), check=True)
    expected = undisturbed(trials)
    seen = set()
    for boundary in range(1, boundaries + 1):
        folder = tmp_path / str(boundary)
        with open_or_create(load_sweep(sweep()), folder) as study:
            before = completed(study)
            assert before.items() <= expected.items()
            seen.add(len(before))
            while len(completed(study)) < trials:
                step(study)
            assert completed(study) == expected, f"killed at boundary {boundary}"
            assert study.counts() == {"completed": trials}
    assert {0, 1, 2, 3, 4} <= seen


def test_a_torn_log_leaves_a_prefix(tmp_path: Path) -> None:
    """The write-ahead log, cut at any byte after a kill, holds the first trials that were told, none of them twice."""
    n = 30
    code = (
        f"import os, signal; from tests.test_store import step, sweep; from tuner.study import Study\n"
        f"s = Study.create(sweep(), dir={str(tmp_path / 'whole')!r})\n"
        f"for _ in range({n}): step(s)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == -9
    expected = undisturbed(n)
    size = (tmp_path / "whole" / "study.db-wal").stat().st_size
    rng = random.Random(0)
    lengths = []
    created = 150_000  # the tables and the study's own row lie before it
    for cut in [size, size - 1, *(rng.randrange(created, size) for _ in range(40))]:
        torn = tmp_path / "torn"
        shutil.rmtree(torn, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", torn)
        (torn / "study.db-shm").unlink()
        os.truncate(torn / "study.db-wal", cut)
        with Study.open(torn, read_only=True) as reading:
            kept = completed(reading)
        assert kept == {trial: expected[trial] for trial in range(len(kept))}
        lengths.append(len(kept))
        with Study.open(torn) as study:
            assert completed(study) == kept
            while len(completed(study)) < n:
                step(study)
            assert completed(study) == expected
    assert lengths[0] == n
    assert len(set(lengths)) > 10


# --- folders and files that cannot be used ---


def unprivileged() -> tuple[str, ...]:
    """What makes the mode of a file count for us: as root, to give up the capability that overrides it."""
    if os.geteuid() != 0:
        return ()
    words = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
    if shutil.which("setpriv") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("needs setpriv, to be refused as root")
    return words


def test_a_read_only_folder_can_be_read_and_refuses_the_rest(tmp_path: Path) -> None:
    prefix = unprivileged()
    folder = tmp_path / "s"
    with Study.create(sweep(), dir=folder) as study:
        for _ in range(3):
            step(study)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    try:
        read = tuner_command("trials", str(folder), "--json", cwd=tmp_path, prefix=prefix)
        assert read.returncode == 0, read.stderr
        assert len(json.loads(read.stdout)["trials"]) == 3
        for words in (("ask", str(folder)), ("tell", str(folder), "3", "loss=1")):
            refused = tuner_command(*words, cwd=tmp_path, prefix=prefix)
            assert refused.returncode == 7
            assert "cannot be written" in refused.stderr and "permissions" in refused.stderr
    finally:
        folder.chmod(0o755)


FULL = """
import resource, signal, sys
from tests.test_store import step, sweep
from tuner.errors import StoreError
from tuner.study import Study
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
study = Study.create(sweep(), dir=sys.argv[1])
told = 0
try:
    for _ in range(5000):
        step(study)
        told += 1
except StoreError as error:
    print(told, error.exit_code, error)
"""


def test_a_file_that_may_not_grow_keeps_what_was_told(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    words = [sys.executable, "-c", FULL, str(folder), str(1_000_000)]
    run = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    told, code, message = run.stdout.split(maxsplit=2)
    assert code == "7"
    assert "run the same command again" in message
    with Study.open(folder) as study:  # the limit was the child's alone: space is free again
        kept = completed(study)
        assert len(kept) >= int(told) > 10
        step(study)
        step(study)
        assert completed(study) == undisturbed(len(kept) + 2)


def test_a_full_disk_stops_the_sweep_with_what_to_do_and_it_continues(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "none", mount], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to mount a small file system")
    try:
        definition = sweep(command=["true"], metrics={"exit_code": "minimize"}, budget={"trials": 200}, baseline=None)
        (tmp_path / "sweep.yaml").write_text(json.dumps(definition))
        words = ("run", str(tmp_path / "sweep.yaml"), "--dir", str(mount / "s"), "-q")
        full = tuner_command(*words, cwd=tmp_path)
        assert (full.returncode, full.stdout) == (7, ""), full.stderr
        assert "free some space" in full.stderr and "Traceback" not in full.stderr
        subprocess.run(["mount", "-o", "remount,size=16m", mount], check=True)
        with Study.open(mount / "s", read_only=True) as study:
            kept = completed(study)
        assert len(kept) > 3
        assert tuner_command(*words, cwd=tmp_path).returncode == 0
        with Study.open(mount / "s", read_only=True) as study:
            assert kept.items() <= completed(study).items()
            assert sum(study.counts().values()) == 200
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.parametrize("damage", ["garbage", "holes", "empty", "gone", "row"])
def test_damage_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    with Study.create(sweep(), dir=tmp_path / "s") as study:
        for _ in range(200):
            step(study)
    file = tmp_path / "s" / "study.db"
    size = file.stat().st_size
    if damage == "garbage":
        file.write_bytes(random.Random(0).randbytes(size))
    elif damage == "holes":
        content = bytearray(file.read_bytes())
        for page in range(2, size // 4096):
            content[page * 4096 : page * 4096 + 2048] = bytes(2048)
        file.write_bytes(content)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    else:
        with sqlite3.connect(file) as database:
            database.execute("update trials set metrics = '{\"loss\": 0.' where trial = 7")
        database.close()
    for words in (("status", "s"), ("tell", "s", "0", "loss=1")):
        run = tuner_command(*words, cwd=tmp_path)
        assert run.returncode == 7, run.stdout + run.stderr
        assert run.stderr.startswith("error: ")
        assert "Traceback" not in run.stderr
        assert ";" in run.stderr, "no remedy"


def test_a_storage_that_is_no_database_url_is_refused(tmp_path: Path) -> None:
    for storage in ("nonsense", "mysql://host/database", "postgresql+nothing://host/database"):
        with pytest.raises(StoreError, match="storage"):
            Study.create(sweep(storage=storage), dir=tmp_path / "s")


def test_postgresql_without_a_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StoreError, match=r"pip install tuner\[postgresql\]"):
        Study.create(sweep(storage="postgresql://host/database"))


# --- who writes ---


def test_the_lock_of_a_dead_process_of_another_host_is_taken(tmp_path: Path) -> None:
    with Study.create(sweep(), dir=tmp_path / "s") as study:
        proposal = study.ask()
    (tmp_path / "s" / "lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": 0.0}))
    with sqlite3.connect(tmp_path / "s" / "study.db") as database:
        database.execute("update trials set worker = 'run:1@elsewhere'")
    database.close()
    with Study.open(tmp_path / "s") as study:
        assert "from process 1 on elsewhere" in [event["detail"] for event in study.events()]
        assert study.read(proposal.trial).state == "waiting"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 3}'])
def test_a_lock_file_with_anything_in_it_is_taken(tmp_path: Path, content: str) -> None:
    Study.create(sweep(), dir=tmp_path / "s").close()
    (tmp_path / "s" / "lock").write_text(content)
    with Study.open(tmp_path / "s") as study:
        assert study.counts() == {"waiting": 1}
        with pytest.raises(LockError):
            Study.open(tmp_path / "s")


RACE = """
import sys
from tests.test_store import sweep
from tuner.errors import LockError
from tuner.study import Study
print("ready", flush=True)
sys.stdin.readline()
try:
    study = Study.{call}
    print("won", flush=True)
except LockError as error:
    print("locked", flush=True)
sys.stdin.readline()
"""


def race(codes: list[str]) -> list[str]:
    """The word of each of several scripts that say "ready", are let go at once, and end when all have spoken."""
    racing = [
        subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, env=environment())
        for code in codes
    ]
    streams = [(p.stdin, p.stdout) for p in racing if p.stdin is not None and p.stdout is not None]
    assert [out.readline() for _, out in streams] == ["ready\n"] * len(codes)
    for into, _ in streams:
        into.write("\n")
        into.flush()
    words = [out.readline().strip() for _, out in streams]
    for process in racing:
        process.communicate("\n", timeout=60)
    return words


@pytest.mark.parametrize("call", ["create", "open"])
def test_of_two_that_race_one_wins(tmp_path: Path, call: str) -> None:
    folder = str(tmp_path / "s")
    if call == "open":
        Study.create(sweep(), dir=folder).close()
    door = f"open({folder!r})" if call == "open" else f"create(sweep(), {folder!r})"
    assert sorted(race([RACE.format(call=door)] * 2)) == ["locked", "won"]


def test_two_folders_that_name_one_sqlite_file_exclude_each_other(tmp_path: Path) -> None:
    shared = sweep(storage=f"sqlite:///{tmp_path / 'shared.db'}")
    with Study.create(shared, dir=tmp_path / "a") as study:
        step(study)
        with pytest.raises(LockError):
            open_or_create(load_sweep(shared), tmp_path / "b")
        with Study.create({**shared, "name": "other"}, dir=tmp_path / "c") as other:
            assert other.history.n == 0
    with open_or_create(load_sweep(shared), tmp_path / "b") as study:
        assert study.history.n == 1


def test_new_is_refused_while_somebody_writes(tmp_path: Path) -> None:
    with Study.create(sweep(), dir=tmp_path / "s") as study:
        with pytest.raises(LockError):
            open_or_create(load_sweep(sweep()), tmp_path / "s", new=True)
        step(study)
    with open_or_create(load_sweep(sweep()), tmp_path / "s", new=True) as fresh:
        assert fresh.history.n == 0
    with Study.open(tmp_path / "s.1", read_only=True) as old:
        assert old.history.n == 1


def test_the_latest_study_is_the_last_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "one"):
        with open_or_create(load_sweep(sweep(name=name))) as study:
            step(study)
        time.sleep(0.02)
    with Study.open(Path(".tuner/two"), read_only=True):
        pass
    assert find_study(None).name == "one"


# --- clocks, leases, late results ---


def test_a_clock_that_jumps_ends_no_lease_and_stretches_none(monkeypatch: pytest.MonkeyPatch) -> None:
    shift = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    study = Study.create(sweep(baseline=None))
    first = study.ask(lease_s=100.0)
    second = study.ask(lease_s=0.05)
    shift = 86_400.0
    assert study.ask(lease_s=100.0).trial == 2  # a day forward: neither lease has ended
    shift = -86_400.0
    assert study.tell(first.trial, {"loss": 1.0})
    seconds = study.read(first.trial).seconds
    assert seconds is not None and 0.0 <= seconds < 5.0
    time.sleep(0.06)
    again = study.ask()
    assert (again.trial, again.attempt) == (second.trial, 2)


def test_a_stored_lease_is_no_longer_than_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Study.create(sweep(baseline=None), dir=tmp_path / "s") as study:
        study.ask(worker="ask:", lease_s=0.2)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
    with Study.open(tmp_path / "s") as study:
        time.sleep(0.25)
        assert study.ask().attempt == 2


def test_leases_and_late_results_from_the_command_line(tmp_path: Path) -> None:
    Study.create(sweep(baseline=None, budget={"trials": 1}), dir=tmp_path / "s").close()

    def ask(lease: str) -> tuple[int, dict[str, Any]]:
        run = tuner_command("ask", "s", "--lease", lease, "--json", cwd=tmp_path)
        return run.returncode, json.loads(run.stdout)["proposals"][0] if run.returncode == 0 else {}

    code, first = ask("1s")
    assert (code, first["attempt"]) == (0, 1)
    time.sleep(1.0)
    code, second = ask("1h")
    assert (code, second["trial"], second["attempt"], second["params"]) == (0, 0, 2, first["params"])
    assert ask("1h")[0] == 3  # the budget's only trial is out
    late = tuner_command("tell", "s", "0", "loss=1", "--attempt", "1", cwd=tmp_path)
    assert late.returncode == 0
    assert "told late" in late.stdout
    assert "completed" in tuner_command("tell", "s", "0", "loss=2", "--attempt", "2", cwd=tmp_path).stdout
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert study.read(0).metrics == {"loss": 2.0}
        assert [event["kind"] for event in study.events()] == ["requeued", "late"]


# --- the schema ---


def set_version(folder: Path, version: int) -> None:
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("update studies set schema_version = ?", (version,))
    database.close()


def test_an_older_schema_without_a_migration_is_refused(tmp_path: Path) -> None:
    with Study.create(sweep(), dir=tmp_path / "s") as study:
        step(study)
    set_version(tmp_path / "s", schema.SCHEMA_VERSION - 1)
    for read_only in (True, False):
        with pytest.raises(StoreError, match="cannot migrate it; use the version that made it"):
            Study.open(tmp_path / "s", read_only=read_only)


def test_an_older_schema_is_migrated_by_its_next_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Study.create(sweep(), dir=tmp_path / "s") as study:
        step(study)
    old = schema.SCHEMA_VERSION - 2
    set_version(tmp_path / "s", old)

    def migrate(connection: sa.Connection, study: str) -> None:
        connection.execute(sa.update(schema.studies).where(schema.studies.c.study == study).values(status="migrated"))

    monkeypatch.setattr("tuner.store.MIGRATIONS", {old: lambda connection, study: None, old + 1: migrate})
    with pytest.raises(StoreError, match="continue the study once with `tuner run`"):
        Study.open(tmp_path / "s", read_only=True)
    with Study.open(tmp_path / "s") as study:
        assert study.history.n == 1
    with sqlite3.connect(tmp_path / "s" / "study.db") as database:
        row = database.execute("select schema_version, status from studies").fetchone()
    database.close()
    assert row == (schema.SCHEMA_VERSION, "migrated")


def test_a_wrong_observation_leaves_no_trial() -> None:
    study = Study.create(sweep(baseline=None))
    with pytest.raises(tuner.errors.UsageError, match="an observation: every metric with a goal"):
        study.add({"x": 0.0, "k": "a"}, {})
    assert study.counts() == {}
    assert study.add({"x": 0.0, "k": "a"}, {"loss": 1.0}) == 0
