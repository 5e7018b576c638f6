"""Build step: the wheel holds the root `cli.py` as `tuner/cli.py`, a renaming that setuptools cannot map itself."""

from __future__ import annotations

from pathlib import Path

from setuptools.command.build_py import build_py


class BuildWithCli(build_py):
    """Copy `cli.py` into the package, except in an editable install, where `tuner/__init__.py` finds it."""

    def run(self) -> None:
        """Build as usual, then add the command line."""
        super().run()
        if not self.editable_mode:
            self.copy_file("cli.py", str(Path(self.build_lib) / "tuner" / "cli.py"))
