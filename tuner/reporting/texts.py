"""What the reading verbs print: the end of a run, the status of a study, one trial, its log, the list of studies."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner import catalog, ranking, recommendation, repeats
from tuner.budget import stop_reason
from tuner.calibration import Prediction, predictions, prequential
from tuner.errors import UsageError
from tuner.lock import is_locked, worker_alive
from tuner.noise import in_doubt
from tuner.records import utc
from tuner.repeats import PREFIX, confirmed
from tuner.reporting.progress import clock, totals
from tuner.reporting.stopping import stopping_lines
from tuner.reporting.streams import chosen_rows, stream_lines
from tuner.reporting.tables import (
    Format,
    cell,
    legible,
    render,
    render_document,
    render_rows,
    render_trials,
    trial_columns,
    trial_row,
)
from tuner.views.stopping import stopping_view
from tuner.views.stream import chosen_now, stream_view

if TYPE_CHECKING:
    from tuner.recommendation import Recommendation
    from tuner.records import TrialRecord
    from tuner.study import Study


def exit_code(study: Study) -> int:
    """The exit code of a finished `tuner run` (design section 7)."""
    ending = study.ending
    if ending is not None and ending.signal is not None:
        return 130 if ending.signal == signal.SIGINT else 128 + ending.signal
    if study.best() is None and not study.ledger.spent.instances:
        return 3
    budget = study.problem.budget
    if budget is not None and budget.target and not study.ledger.spent.reached:
        return 3
    return 0


def what_next(study: Study, arguments: Sequence[str]) -> str:
    """The commands that continue a sweep which is not done, and that look at its front, ready to paste."""
    verb = "status" if study.ledger.spent.instances else "pareto"
    look = f"look: {shlex.join(['tuner', verb, str(study.dir)])}"
    interrupted = study.ending is not None and study.ending.signal is not None
    if study.stop_reason is not None and not interrupted:
        return look
    return f"continue: {shlex.join(['tuner', 'run', *arguments])}\n{look}"


def describe(study: Study, format: Format, *, width: int | None = None) -> str:
    """The front of a run that ended, against the baseline; one JSON document with `json`."""
    if study.ledger.spent.instances:
        return status_text(study, format)
    records = study.pareto()
    if format == "json":
        return render_trials(records, study, "json", thing="pareto")
    chosen = repeats.recommended(study) or study.best()
    if len(study.problem.objectives) == 1:
        records = confirmed(study) or records[:1]
    if not records or chosen is None:
        return f"no feasible trial in {totals(study)}"
    baseline = baseline_of(study)
    shown = records if baseline is None or baseline.trial in {r.trial for r in records} else [*records, baseline]
    lines = [_table(shown, study, width, baseline)]
    objectives = study.problem.objectives
    if len(objectives) > 1:
        volume, corner = study.hypervolume()
        where = ", ".join(f"{m.name}={cell(c)}" for m, c in zip(objectives, corner, strict=True))
        lines.append(f"front of {len(records)} in {totals(study)}; hypervolume {volume:.5g} from {where}")
        liked = ranking.preferred(study.history)
        lines.append(f"knee{_again(study, chosen)}: trial {chosen.trial}" if liked is None else str(liked))
    else:
        lines.append(f"best of {totals(study)}{_again(study, chosen)}: trial {chosen.trial}")
    if baseline is not None:
        lines.append(f"baseline: trial {baseline.trial}")
    found = recommendation.known(study)
    if found is not None and not any(PREFIX in name for name in chosen.measures):
        lines.append(recommended(study, found))
    return "\n".join(lines)


def best_text(study: Study, format: Format, *, names: Sequence[str] = (), width: int | None = None) -> str:
    """The best feasible trial and, where measurements are noisy, what the last run recommends; "" without one."""
    if study.ledger.spent.instances:
        return _stream_best(study, format, names, width)
    found, best = recommendation.known(study), study.best()
    if best is None and format not in ("json", "table"):
        return ""
    text = render_trials([] if best is None else [best], study, format, thing="best", names=names, width=width)
    if format != "table" or names:
        return text
    liked = ranking.preferred(study.history)
    notes = [str(liked)] if liked is not None else []
    return "\n".join([text, *notes, *([recommended(study, found)] if found is not None else [])])


def _stream_best(study: Study, format: Format, names: Sequence[str], width: int | None) -> str:
    """What a stream in blocks chooses now: a row in all, then one a range of contexts; for scripts that in all."""
    found, goal = chosen_now(study), study.problem.objectives[0].name
    if format in ("json", "jsonl"):
        stream = [one.to_json() for one in found]
        document = {"schema": "tuner.best/1", "study": study.sweep.name, "trial": None, "recommended": None}
        return render_document({**document, "stream": stream}, format)
    columns, rows = chosen_rows(found, goal)
    if format == "value" or names:
        return render_rows(columns, rows[:1], format, names, width=width)
    text = render_rows(columns, rows, format, width=width)
    what = f"played most among the last {found[0].instances} of {study.ledger.spent.instances} instances"
    return f"{text}\n{what}" if format == "table" else text


def recommended(study: Study, found: Recommendation) -> str:
    """A recommendation in one line, beside the best observed trial."""
    values = ", ".join(
        f"{name} {cell(value.mean)} [{cell(value.low)}, {cell(value.high)}]" for name, value in found.metrics.items()
    )
    basis = f"the posterior of {found.n} trials" if found.by == "posterior" else f"{found.n} {found.by}"
    line = f"recommended: trial {found.trial}, {values} by {basis}"
    best = study.best()
    if best is None:
        return line
    seen = ", ".join(cell(best.metrics[name]) for name in found.metrics)
    return f"{line}; best observed: trial {best.trial} {seen}"


def _again(study: Study, chosen: TrialRecord) -> str:
    """What the fresh measurements of a recommended trial say; nothing when it had none."""
    fresh = [
        f"{m.name}={cell(chosen.measures[PREFIX + m.name])}"
        + (f" ± {chosen.measures[sd]:.2g}" if (sd := f"{PREFIX}{m.name}_sd") in chosen.measures else "")
        for m in study.problem.objectives
        if PREFIX + m.name in chosen.measures
    ]
    return f", measured again ({', '.join(fresh)})" if fresh else ""


def _table(records: Sequence[TrialRecord], study: Study, width: int | None, baseline: TrialRecord | None) -> str:
    rows = [trial_row(record, study.problem) for record in records]
    for record, row in zip(records, rows, strict=True):
        if baseline is not None and record.trial == baseline.trial:
            row["trial"] = f"{record.trial} baseline"
    hidden = {"state", "feasible", "seconds", "failure"}
    columns = [name for name in trial_columns(study.problem, records) if name not in hidden]
    columns = [name for name in columns if any(row.get(name) is not None for row in rows)]
    return render(columns, rows, "table", width=width, first=["trial", *(m.name for m in study.problem.metrics)])


def baseline_of(study: Study) -> TrialRecord | None:
    """The baseline's trial once it has completed."""
    if study.problem.baseline is None or study.ledger.baseline is None:
        return None
    return study.read(0)


_DOUBT = (
    "no configuration was tried twice; if measurements are noisy, say so with `repeats: {finalists: 3}`: "
    "the model then expects noise, and the best are measured again"
)


def status_text(study: Study, format: Format, *, names: Sequence[str] = ()) -> str:
    """How far a study is, whether somebody works on it, what it spent, its best."""
    counts = study.counts()
    spent, budget = study.ledger.spent, study.problem.budget
    best = study.best()
    running = study.dir is not None and is_locked(study.dir)
    reason = stop_reason(budget, spent)
    document: dict[str, Any] = {
        "schema": "tuner.status/1",
        "study": study.sweep.name,
        "dir": str(study.dir),
        "active": running,
        "counts": counts,
        "budget_trials": budget.trials if budget is not None else None,
        "spent_s": round(spent.seconds, 3),
        "stop_reason": reason,
        "best": best.to_json() if best is not None else None,
    }
    calibration = prequential(study)
    document["calibration"] = {name: found.to_json() for name, found in calibration.items()}
    if len(study.problem.objectives) > 1:
        volume, corner = study.hypervolume()
        document |= {"front": len(study.pareto()), "hypervolume": volume, "reference": corner}
    stopping = stopping_view(study)
    document |= {} if stopping is None else {"early_stopping": stopping.to_json()}
    stream = stream_view(study)
    document |= {} if stream is None else {"stream": stream.to_json()}
    if format != "table" or names:
        return render_document(document, format, names)
    lines = [
        f"study {study.sweep.name} in {study.dir}: {'running' if running else 'not running'}",
        f"{totals(study)} ({', '.join(f'{n} {state}' for state, n in sorted(counts.items())) or 'none yet'})"
        if stream is None
        else totals(study),
        f"time spent {clock(spent.seconds)}{f'; {reason}' if reason else ''}",
    ]
    if not running and (cut := sum(_cut_short(record) for record in study.records(states=("running",)))):
        lines.append(f"{cut} of the running trials ended with the process that ran them; `tuner run` starts them again")
    if len(study.problem.objectives) > 1:
        lines.append(f"front of {document['front']}, hypervolume {document['hypervolume']:.5g}")
    lines += [] if stopping is None else stopping_lines(stopping)
    lines += [] if stream is None else stream_lines(stream)
    for name, worth in calibration.items():
        lines.append(f"model{f' of {name}' if len(study.problem.objectives) > 1 else ''}: {worth}")
    if any(worth.verdict == "overconfident" for worth in calibration.values()) and in_doubt(study.history):
        lines.append(_DOUBT)
    if best is not None:
        values = " ".join(f"{name}={cell(value)}" for name, value in best.metrics.items())
        what = "preferred" if study.history.answers else "knee"
        lines.append(f"{'best' if len(study.problem.objectives) == 1 else what}: trial {best.trial} {values}")
    return "\n".join(lines)


def _cut_short(record: TrialRecord) -> bool:
    worker = record.worker or ""
    return not worker.startswith("ask:") and not worker_alive(worker)


def trial_text(study: Study, number: int, format: Format, *, names: Sequence[str] = ()) -> str:
    """One trial with its provenance, prediction against outcome, reports and what the runner measured."""
    record = study.read(number)
    expected = _predictions(study, record)
    reports = study.reports(number)
    events = [event for event in study.events() if event["trial"] == number]
    if format != "table" or names:
        happened = [{"at": utc(e["at"]), "kind": e["kind"], "detail": e["detail"]} for e in events]
        document = {"schema": "tuner.trial/1", "study": study.sweep.name, "trial": record.to_json()}
        document["predictions"] = {name: one.to_json() for name, one in expected.items()}
        return render_document({**document, "reports": reports, "events": happened}, format, names)
    lines = [f"trial {number}: {record.state}, attempt {record.attempt}, seed {record.seed}"]
    if record.failure is not None:
        lines.append(f"failure: {record.failure.kind}: {legible(record.failure.message)}")
    lines += ["parameters:", *(f"  {name} = {cell(value)}" for name, value in record.config.items())]
    if record.metrics:
        lines += [
            "metrics:",
            *(f"  {name} = {cell(value)}{_against(expected.get(name))}" for name, value in record.metrics.items()),
        ]
    provenance = record.provenance
    lines.append(f"proposed by {provenance.engine} in {provenance.seconds:.3g} s{_because(provenance.reason)}")
    if provenance.acquisition is not None:
        lines.append(f"  acquisition value {provenance.acquisition:.5g}")
    if record.measures:
        lines += ["measured:", *(f"  {name} = {cell(value)}" for name, value in record.measures.items())]
    if record.started_at is not None:
        lines.append(f"started {utc(record.started_at)}, finished {utc(record.finished_at)}, slot {record.slot or '-'}")
    lines += [f"step {step}: {cell(values)}" for step, values in reports[-10:]]
    lines += [f"{utc(event['at'])} {event['kind']}: {legible(event['detail'])}" for event in events]
    return "\n".join(lines)


def _because(reason: str) -> str:
    return f": {legible(reason)}" if reason else ""


def _predictions(study: Study, record: TrialRecord) -> dict[str, Prediction]:
    """What was expected of a completed trial when it was proposed, by metric."""
    if record.state != "completed":
        return {}
    return predictions({"mean": record.provenance.mean, "sd": record.provenance.sd}, record.metrics)


def _against(one: Prediction | None) -> str:
    """A prediction against the outcome beside it."""
    if one is None:
        return ""
    off = "" if one.z is None else f", {abs(one.z):.1f} sd {'below' if one.z > 0 else 'above'} it"
    return f"   (predicted {one.mean:.5g} ± {one.sd:.2g}{off})"


def log_text(study: Study, number: int, *, names: Sequence[str], tail: int) -> str:
    """What a trial printed.

    Raises:
        UsageError: There is no such trial, or the study lives in memory.
    """
    study.read(number)
    if study.dir is None:
        raise UsageError("a study in memory keeps no logs; give it a folder")
    parts = []
    for name in names:
        file = study.dir / "trials" / str(number) / name
        if file.is_file() and file.stat().st_size:
            text = file.read_text(encoding="utf-8", errors="replace")
            lines = [legible(line.expandtabs()) for line in text.splitlines()]
            parts.append("\n".join([f"==> {name} <==", *(lines[-tail:] if tail else lines)]))
    return "\n".join(parts) if parts else f"trial {number} printed nothing"


def catalog_text(kind: str, format: Format, *, names: Sequence[str] = ()) -> str:
    """The known names of a kind, each with what it is.

    Raises:
        UsageError: There is no such kind.
    """
    known = [name for name in catalog.KINDS if name == kind.replace("-", "_")]
    if not known:
        raise UsageError(f"there is no list of {kind!r} (known: studies, {', '.join(catalog.KINDS)})")
    rows = [{"name": name, "summary": summary} for name, summary in catalog.summaries(known[0]).items()]
    if format == "json":
        return json.dumps({"schema": "tuner.catalog/1", "kind": known[0], "entries": rows}, indent=2)
    return render_rows(["name", "summary"], rows, format, names)


def list_text(format: Format, *, names: Sequence[str] = ()) -> str:
    """The studies under `.tuner/` with their progress."""
    from tuner.sessions import HOME, list_studies
    from tuner.study import Study

    rows = []
    for folder in list_studies():
        with Study.open(folder, read_only=True) as study:
            budget = study.problem.budget
            rows.append(
                {
                    "study": folder.name,
                    "active": is_locked(folder),
                    "trials": study.ledger.spent.finished,
                    "budget": budget.trials if budget is not None else None,
                    "goals": " ".join(f"{m.goal} {m.name}" for m in study.problem.objectives),
                }
            )
    if format == "json":
        return json.dumps({"schema": "tuner.list/1", "studies": rows}, indent=2)
    if not rows and format == "table":
        return f"no study in {os.fspath(HOME)}/"
    return render_rows(["study", "active", "trials", "budget", "goals"], rows, format, names)
