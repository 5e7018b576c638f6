"""The parts of the page that need no script: header, verdict, failures, reproduction. Everything in them is escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from tuner.pages.wording import amount, change_text, change_word, duration, git_text, headline, shortened
from tuner.records import utc
from tuner.reporting.stopping import stopping_lines
from tuner.reporting.streams import chosen_rows
from tuner.reporting.tables import cell, legible, render
from tuner.sweep import dump_yaml

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.views.failures import Cause, Failures
    from tuner.views.report import Report


def text_of(value: str) -> str:
    """A text of a user or a trial as HTML may hold it, in an attribute too."""
    return html.escape(legible(value))


def _block(lines: tuple[str, ...] | list[str]) -> str:
    return html.escape("\n".join(legible(line) for line in lines))


def header(report: Report, study: Study) -> str:
    """Name, state, goals, and when it was written."""
    verdict = report.verdict
    goals = ", ".join(f"{metric.goal} {metric.name}" for metric in study.problem.objectives)
    reason = f": {verdict.reason}" if verdict.reason else ""
    return (
        f'<div class="naming"><h1>{text_of(report.name)} '
        f'<span class="badge {verdict.state}">{verdict.state}</span></h1>'
        f'<p class="quiet">{text_of(goals)}{text_of(reason)} · written {utc(report.written_at)}</p></div>'
    )


def verdict_section(report: Report, study: Study) -> str:
    """The strip at the top: best against baseline, feasible, spent."""
    verdict = report.verdict
    tiles = [
        _tile(
            text_of(one.metric),
            text_of(amount(one.value, one.unit)),
            f'<span class="{change_word(one)}">{text_of(change_text(one))}</span>',
        )
        for one in verdict.standings
    ]
    finished = sum(n for state, n in verdict.counts.items() if state not in ("waiting", "running"))
    budget = f" of {verdict.budget_trials:,}" if verdict.budget_trials is not None else ""
    states = ", ".join(f"{n} {state}" for state, n in sorted(verdict.counts.items())) or "none yet"
    chosen = ""
    if report.stream is None:
        tiles.append(_tile("trials", f"{finished:,}{budget}", text_of(states)))
        share = f"{verdict.feasible / finished:.0%} of them" if finished else ""
        tiles.append(_tile("feasible", f"{verdict.feasible:,}", share))
    else:
        stream, now = report.stream
        tiles.append(_tile("instances", f"{stream.instances:,}{budget}", f"in {stream.blocks:,} blocks"))
        columns, rows = chosen_rows(now, study.problem.objectives[0].name)
        chosen = f"<h3>Chosen in the last fifth</h3><pre>{_block(render(columns, rows, 'table').splitlines())}</pre>"
    if verdict.hypervolume is not None:
        corner = ", ".join(f"{name}={cell(value)}" for name, value in verdict.reference.items())
        volume = f"hypervolume {cell(verdict.hypervolume)} from {corner}"
        tiles.append(_tile("front", f"{len(verdict.front)}", text_of(volume)))
    if report.stopping is not None:
        done, *known = stopping_lines(report.stopping)
        note = "; ".join([done.partition(": ")[2], *known])
        tiles.append(_tile("stopped early", f"{report.stopping.stopped:,}", text_of(note)))
    gpu = f", {duration(verdict.gpu_s)} of GPU" if verdict.gpu_s else ""
    tiles.append(_tile("time spent", duration(verdict.spent_s), f"{duration(verdict.busy_s)} in trials{gpu}"))
    return f'<p class="headline">{text_of(headline(report))}</p><dl class="tiles">{"".join(tiles)}</dl>{chosen}'


def _tile(name: str, value: str, note: str) -> str:
    return f'<div class="tile"><dt>{name}</dt><dd><b>{value}</b><small>{note}</small></dd></div>'


def failures_section(report: Report) -> str:
    """Failures by kind, each with its causes and the end of a log."""
    if not report.failures:
        return '<p class="quiet">No trial failed.</p>'
    return "".join(_kind(one) for one in report.failures)


def _kind(one: Failures) -> str:
    rest = f'<p class="quiet">and {one.others} with other messages</p>' if one.others else ""
    causes = "".join(_cause(cause, first=k == 0) for k, cause in enumerate(one.causes))
    return (
        f'<details class="failure" open><summary><b>{text_of(one.kind)}</b> '
        f'<span class="quiet">{one.n} {"trial" if one.n == 1 else "trials"}</span></summary>{causes}{rest}</details>'
    )


def _cause(cause: Cause, *, first: bool) -> str:
    numbers = shortened([str(trial) for trial in cause.trials], 12)
    lines = cause.message.splitlines() or ["no message"]
    log = (
        f"<details{' open' if first else ''}><summary>the last {len(cause.log)} lines of trial {cause.shown}</summary>"
        f"<pre>{_block(cause.log)}</pre></details>"
        if cause.log
        else ""
    )
    return (
        f'<div class="cause"><p><span class="count">{len(cause.trials)}×</span> <code>{text_of(lines[0])}</code></p>'
        f'<p class="quiet">{"trial" if len(cause.trials) == 1 else "trials"} {numbers}</p>{log}</div>'
    )


def reproduction_section(report: Report) -> str:
    """Sweep, seed, versions, hardware, git state, and the commands that bring the study back."""
    facts = "".join(f"<dt>{text_of(name)}</dt><dd>{text_of(value)}</dd>" for name, value in facts_of(report))
    commands = [
        "tuner import report.html    # restores the study as .tuner/" + report.name,
        "tuner pareto " + report.name,
    ]
    return (
        f'<div class="pair"><div><h3>Surroundings</h3><dl class="facts">{facts}</dl>'
        f"<h3>Restore</h3><pre>{_block(commands)}</pre></div>"
        f'<div><h3>Sweep</h3><pre class="tall" tabindex="0">{_block(dump_yaml(dict(report.sweep)).splitlines())}</pre>'
        "</div></div>"
    )


def facts_of(report: Report) -> list[tuple[str, str]]:
    """What the last session was like, and in what it differed from the one before."""
    search: Any = report.sweep.get("search")
    facts = [("seed", str(report.seed)), ("search", cell(search) if search else "auto")]
    if not report.sessions:
        return [*facts, ("surroundings", "not recorded: no `tuner run` took part")]
    last = report.sessions[-1]
    facts += [
        ("sessions with other surroundings", str(len(report.sessions) - 1)),
        ("session of", str(utc(last["at"]))),
        ("git", git_text(last.get("git"))),
        ("platform", f"{last.get('platform')}, Python {last.get('python')}"),
        ("processor", f"{last.get('processor')}, {last.get('cpus')} usable, {last.get('memory_gib')} GiB memory"),
        ("GPUs", ", ".join(last.get("gpus") or []) or "none"),
    ]
    facts += [(name, str(version)) for name, version in (last.get("packages") or {}).items()]
    return facts
