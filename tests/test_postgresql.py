"""A study in PostgreSQL: created, run, resumed, read there; one writer across hosts; several studies in a database.

`TUNER_TEST_POSTGRESQL=postgresql://user@host:port/postgres pytest tests/test_postgresql.py` uses a server that
runs already; the user must be allowed to create databases. Without it a throwaway server is started in a temporary
folder where PostgreSQL's programs are installed (`apt-get install postgresql`); elsewhere the tests are skipped. A
folder of its own stands for another host: nothing but the database is shared.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import tuner
from tests.surroundings import environment
from tests.test_store import RACE, race
from tuner.errors import LockError, StoreError, UsageError
from tuner.sessions import open_or_create
from tuner.sweep import load_sweep

pytestmark = pytest.mark.postgresql


def programs() -> Path | None:
    """Where PostgreSQL's programs are: on the PATH, or where Debian puts them."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).parent
    return max((file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server's database from which others can be made."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs the driver psycopg: pip install tuner[postgresql]")
    if given := os.environ.get("TUNER_TEST_POSTGRESQL"):
        yield given
        return
    bin_ = programs()
    if bin_ is None:
        pytest.skip("needs a PostgreSQL server, named by TUNER_TEST_POSTGRESQL, or its programs")
    user = "postgres" if os.geteuid() == 0 else None  # initdb refuses to run as root
    folder = tempfile.mkdtemp(prefix="tuner-postgresql-")
    try:
        if user is not None:
            shutil.chown(folder, user)
        port = free_port()
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off -p {port}"
        initdb = [bin_ / "initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(initdb, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        pg_ctl = [bin_ / "pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w"]
        subprocess.run([*pg_ctl, "-o", options, "start"], user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*pg_ctl, "-m", "immediate", "stop"], user=user, check=True, cwd=folder, stdout=-3)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def statement(url: str, text: str) -> list[Any]:
    """Rows of one statement, outside of any transaction."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.execute(sa.text(text))
        rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """A fresh database."""
    name = f"tuner_{uuid.uuid4().hex[:12]}"
    statement(server, f"CREATE DATABASE {name}")
    yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    statement(server, f"DROP DATABASE {name} WITH (FORCE)")


def bowl(config: Mapping[str, Any]) -> dict[str, float]:
    return {"loss": config["x"] ** 2}


def sweep(url: str | None, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "bowl",
        "metrics": {"loss": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}, "k": {"values": ["a", "b"]}},
        "command": ["true"],
        "search": "random",
        "storage": url,
    }
    return {**base, **changes}


def step(study: tuner.Study) -> None:
    proposal = study.ask()
    study.report(proposal.trial, 1, {"loss": 2.0})
    study.tell(proposal.trial, {"loss": proposal.config["x"] ** 2})


def python(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A driver script in a process of its own."""
    script = f"import os, signal, tuner\n{code}"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(**more), check=False
    )


def test_a_sweep_runs_and_resumes_as_it_does_in_a_file(url: str, tmp_path: Path) -> None:
    def definition(storage: str | None, trials: int) -> dict[str, Any]:
        changed = sweep(storage, objective=bowl, budget={"trials": trials}, baseline={"x": 0.5, "k": "a"}, seed=3)
        del changed["command"]
        return changed

    tuner.run(definition(url, 5), tmp_path / "s").close()
    with tuner.run(definition(url, 12), tmp_path / "s") as resumed:
        ours = [(r.trial, r.config, dict(r.metrics), r.seed, r.state) for r in resumed.records()]
        best = resumed.best()
    assert not (tmp_path / "s" / "study.db").exists()
    with tuner.run(definition(None, 12), tmp_path / "file") as file:
        assert ours == [(r.trial, r.config, dict(r.metrics), r.seed, r.state) for r in file.records()]
        expected = file.best()
    assert best is not None and expected is not None and best.trial == expected.trial


def test_another_process_reads_while_one_writes(url: str, tmp_path: Path) -> None:
    with tuner.Study.create(sweep(url), dir=tmp_path / "s") as study:
        for _ in range(3):
            step(study)
        study.ask()
        command = [sys.executable, "-m", "tuner", "status", str(tmp_path / "s"), "--json"]
        status = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True).stdout
        assert '"active": true' in status
        assert '"completed": 3' in status
        with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
            assert reading.reports(1) == [(1, {"loss": 2.0})]
            with pytest.raises(StoreError, match="read-only"):
                reading.enqueue({"x": 0.0})
        step(study)  # a reader holds nothing up


def test_several_studies_share_a_database(url: str, tmp_path: Path) -> None:
    with (
        tuner.Study.create(sweep(url, name="one"), dir=tmp_path / "1") as one,
        tuner.Study.create(sweep(url, name="two", seed=1), dir=tmp_path / "2") as two,
    ):
        for study in (one, two, two):
            step(study)
        two.fail(two.ask().trial, "infra", "lost")
        assert (one.counts(), two.counts()) == ({"completed": 1}, {"completed": 2, "waiting": 1})
        assert [event["kind"] for event in one.events()] == []
        assert len(one.reports(0)) == len(two.reports(1)) == 1
        assert one.read(0).config != two.read(0).config
    with tuner.Study.open(tmp_path / "1") as again:
        assert (again.history.n, again.ask().trial) == (1, 1)


def test_one_writer_across_hosts(url: str, tmp_path: Path) -> None:
    with tuner.Study.create(sweep(url), dir=tmp_path / "here") as study:
        step(study)
        there = python(f"tuner.run({sweep(url)!r}, {str(tmp_path / 'there')!r})")
        assert "LockError" in there.stderr
        assert f"is being written by process {os.getpid()} on {socket.gethostname()}" in there.stderr
        with pytest.raises(LockError):
            tuner.Study.open(tmp_path / "here")
        step(study)
    with open_or_create(load_sweep(sweep(url)), tmp_path / "there") as elsewhere:  # released: it goes on there
        assert elsewhere.history.n == 2
        step(elsewhere)


def test_a_dead_holder_keeps_nothing(url: str, tmp_path: Path) -> None:
    dead = python(
        f"s = tuner.Study.create({sweep(url)!r}, dir={str(tmp_path / 'here')!r})\n"
        "p, q = s.ask(2); s.tell(p.trial, {'loss': 1.0}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert dead.returncode == -9, dead.stderr
    with open_or_create(load_sweep(sweep(url)), tmp_path / "there") as study:
        assert study.counts() == {"completed": 1, "waiting": 1}
        assert (study.ask().trial, study.ask().trial) == (1, 2)


def test_a_writer_that_lost_its_connection_never_writes_again(url: str, tmp_path: Path) -> None:
    with tuner.Study.create(sweep(url), dir=tmp_path / "here") as study:
        step(study)
        proposal = study.ask()
        statement(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        with pytest.raises(StoreError, match="run the same command again"):
            study.tell(proposal.trial, {"loss": 1.0})
        with tuner.Study.open(tmp_path / "here", read_only=True) as reading:
            assert reading.counts() == {"completed": 1, "running": 1}
        with pytest.raises(
            StoreError, match="run the same command again"
        ):  # its lock is gone: somebody may have written
            study.tell(proposal.trial, {"loss": 1.0})
    with tuner.Study.open(tmp_path / "here") as again:
        assert again.tell(proposal.trial, {"loss": 1.0})


def test_racing_creators(url: str, tmp_path: Path) -> None:
    scripts = []
    for k in range(4):  # two of one name, two of another, in a database without tables
        definition, folder = sweep(url, name=f"race{k % 2}"), str(tmp_path / str(k))
        scripts.append(RACE.format(call=f"create({definition!r}, {folder!r})"))
    words = race(scripts)
    assert sorted(words[0::2]) == sorted(words[1::2]) == ["locked", "won"]


def test_new_sets_the_old_trials_aside(url: str, tmp_path: Path) -> None:
    with tuner.Study.create(sweep(url), dir=tmp_path / "s") as study:
        step(study)
    with open_or_create(load_sweep(sweep(url)), tmp_path / "s", new=True) as study:
        assert study.history.n == 0
        with pytest.raises(LockError):
            open_or_create(load_sweep(sweep(url)), tmp_path / "s", new=True)
        step(study)
        step(study)
    with tuner.Study.open(tmp_path / "s.1", read_only=True) as old:
        assert (old.sweep.name, old.history.n) == ("bowl.1", 1)
    with open_or_create(load_sweep(sweep(url)), tmp_path / "elsewhere", new=True) as study:
        assert study.history.n == 0
    assert sorted(statement(url, "SELECT study, count(*) FROM trials GROUP BY study")) == [("bowl.1", 1), ("bowl.2", 2)]


def test_a_changed_storage_is_refused_with_both_named(url: str, tmp_path: Path) -> None:
    tuner.Study.create(sweep(None), dir=tmp_path / "s").close()
    with pytest.raises(UsageError, match=r"study\.db, but the sweep says 'bowl' in postgresql://"):
        open_or_create(load_sweep(sweep(url)), tmp_path / "s")


def test_text_that_postgresql_refuses_is_stored_without_it(url: str, tmp_path: Path) -> None:
    with tuner.Study.create(sweep(url), dir=tmp_path / "s") as study:
        study.fail(study.ask().trial, "crash", "a\0b \udcff ü")
        failure = study.read(0).failure
        assert failure is not None and failure.message == "a\ufffdb ? ü"


def test_an_unreachable_server_is_an_error_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    storage = f"postgresql://someone:secret@127.0.0.1:{free_port()}/nothing"
    with pytest.raises(StoreError, match="check that the server runs") as caught:
        tuner.Study.create(sweep(storage), dir=tmp_path / "s")
    assert "secret" not in str(caught.value)
    assert "someone" in str(caught.value)
