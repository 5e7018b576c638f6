"""Schema: the tables of a study's storage, their version, and how an older version becomes this one.

The name of the study is part of every key, so that several studies share one database. Each study's own row holds the
version that wrote it. To change the tables: raise `SCHEMA_VERSION` (in
`tuner.sqlite`) from n to n + 1, add a function `MIGRATIONS[n]`, and
a test that opens a storage of version n. Tables may hold other studies of other versions, so a migration only adds
(columns that may be empty, tables), and rewrites the rows of its own study alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from tuner.sqlite import SCHEMA_VERSION as SCHEMA_VERSION

Migration = Callable[[sa.Connection, str], None]
MIGRATIONS: Mapping[int, Migration] = {}
"""From version n to n + 1: called with the connection, in a transaction, and the name of the study."""

tables = sa.MetaData()

studies = sa.Table(
    "studies",
    tables,
    sa.Column("study", sa.String, primary_key=True),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("sweep", sa.Text, nullable=False),
    sa.Column("token", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("spent_s", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)

trials = sa.Table(
    "trials",
    tables,
    sa.Column("study", sa.String, primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("fidelity", sa.Float),
    sa.Column("context", sa.Text),
    sa.Column("origin", sa.Integer),
    sa.Column("provenance", sa.Text, nullable=False),
    sa.Column("worker", sa.String),
    sa.Column("deadline", sa.Float),
    sa.Column("started_at", sa.Float),
    sa.Column("finished_at", sa.Float),
    sa.Column("rank", sa.Integer),  # how many trials had finished when this one did: the order of the history
    sa.Column("metrics", sa.Text),
    sa.Column("measures", sa.Text),
    sa.Column("failure_kind", sa.String),
    sa.Column("failure_message", sa.Text),
    sa.Column("slot", sa.String),
    sa.Index("trials_by_rank", "study", "rank"),
)

reports = sa.Table(
    "reports",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String, nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Index("reports_of_trial", "study", "trial"),
)

events = sa.Table(
    "events",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("trial", sa.Integer),
    sa.Column("detail", sa.Text, nullable=False),
)
