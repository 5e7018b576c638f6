"""Loading: what a study keeps in memory, rebuilt from its store, or brought up to date with it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tuner import blocks
from tuner.errors import StoreError
from tuner.preferences.answers import EVENT, answers_of
from tuner.records import proposal_of, record_of
from tuner.sqlite import RESTORE

if TYPE_CHECKING:
    from tuner.leases import Leases
    from tuner.ledger import Ledger
    from tuner.reader import Reader
    from tuner.store import Store


def load(store: Store | Reader, ledger: Ledger, leases: Leases, spent_s: float) -> None:
    """Take in the trials that finished since the ledger was filled, and all that wait or run.

    Args:
        store: Where they are kept.
        ledger: Empty, or filled by an earlier call when the store is only read.
        leases: Empty.
        spent_s: The study's wall-clock time so far, seconds.

    Raises:
        StoreError: A stored trial cannot be understood.
    """
    spent = ledger.spent
    ledger.pending.clear()
    spent.running.clear()
    try:
        for rows in store.finished(columns=ledger.columns, after=ledger.next_rank - 1):
            ledger.replay(rows)
        unfinished = [record_of(row) for row in store.trials(states=("waiting", "running"))]
    except (ValueError, TypeError, LookupError) as error:
        raise StoreError(f"{store.url} holds a trial that cannot be understood: {error}; {RESTORE}") from error
    ledger.answers[:] = answers_of(store.events(kind=EVENT))
    spent.instances = blocks.count(store.events(kind=blocks.EVENT)) if blocks.in_blocks(ledger.problem) else 0
    spent.seconds, spent.started = spent_s, spent.finished + spent.instances
    for record in unfinished:
        proposal = proposal_of(record)
        ledger.add(proposal)
        if record.state == "waiting":
            leases.wait(proposal)
        else:
            spent.running.add(record.trial)
            leases.begin(proposal, started=record.started_at or time.time(), deadline=record.deadline)
        spent.started += record.state == "running" or record.attempt > 1
    if ledger.problem.early_stop is not None and not store.read_only:
        for report in store.reports():
            ledger.report(report["trial"], report["step"], json.loads(report["metrics"]))
