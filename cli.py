"""The command line of tuner: its verbs, group by group.

A verb is one thin function in `tuner/commands/`: parse, one library call, print. Results go to stdout, everything else
to stderr. Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import typer

from tuner.commands import control, daily, looking, measuring, moving

app = typer.Typer(
    name="tuner",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tune a command, a Python function or a model: a sweep file in, a Pareto front out.",
)

GROUPS = {
    "Every day": daily.VERBS,
    "Look closer": looking.VERBS,
    "Control": control.VERBS,
    "Measure": measuring.VERBS,
    "Move data, environment": moving.VERBS,
}

for panel, verbs in GROUPS.items():
    for verb in verbs:
        app.command(verb.__name__.rstrip("_"), rich_help_panel=panel)(verb)

if __name__ == "__main__":
    app(prog_name="tuner")
