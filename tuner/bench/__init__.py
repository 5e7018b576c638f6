"""`tuner bench`: strategies against each other and against peers, on problems whose best values are known.

problem.py problems/ suite.py    what is solved: dev for tuning defaults, held-out and outside for judging
methods.py peers.py flat.py      who solves it: every registered strategy, and the peers that are installed
worker.py runner.py              one process a run, resumable
scores.py tables.py timing.py    normalised scores, ranks, seconds per suggestion
"""
