"""The problems, a file for each class; every file has `problems()`, a tuple of `BenchProblem`."""
