"""`python -m tuner`: the command line, from a checkout or installed."""

import runpy

runpy.run_module("tuner.cli", run_name="__main__", alter_sys=True)
