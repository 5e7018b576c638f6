"""`tuner run`: load the sweep, run it or go on with it, say what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `tuner run` was asked for; each field is the option of its name."""

    sweep: Path
    directory: Path | None = None
    params: Sequence[str] = ()
    sets: Sequence[str] = ()
    warm_start: Sequence[str] = ()
    new: bool = False
    adopt: bool = False
    plain: bool = False
    quiet: bool = False
    verbose: bool = False
    json: bool = False

    def again(self) -> list[str]:
        """The arguments that go on with the same study."""
        words = [str(self.sweep), *(["--dir", str(self.directory)] if self.directory else [])]
        flags = (("-P", self.params), ("-S", self.sets), ("--warm-start", self.warm_start))
        return words + [word for flag, texts in flags for text in texts for word in (flag, text)]


def run_sweep(request: Request, say: Callable[[str], None], *, width: int | None = None) -> int:
    """Run a sweep with its progress on stderr; returns the exit code.

    Args:
        request: What to run, and how.
        say: Where the result goes.
        width: Terminal width; None never truncates.
    """
    import tuner
    from tuner.reporting.progress import make_progress
    from tuner.reporting.texts import describe, exit_code, what_next
    from tuner.sweep import load_sweep

    loaded = load_sweep(request.sweep, params=request.params, sets=request.sets, warm_start=request.warm_start)
    if request.verbose or (loaded.notes and not request.quiet):
        for note in loaded.notes:
            print(f"note: {note}", file=sys.stderr)
    no_color = bool(os.environ.get("NO_COLOR"))
    observer = make_progress(plain=request.plain, quiet=request.quiet, no_color=no_color, environment=os.environ)
    with tuner.run(loaded, request.directory, new=request.new, adopt=request.adopt, observer=observer) as study:
        say(describe(study, "json" if request.json else "table", width=width))
        if not request.quiet and not request.json:
            print(what_next(study, request.again()), file=sys.stderr)
        return exit_code(study)
