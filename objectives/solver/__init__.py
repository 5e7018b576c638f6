"""Solvers of linear systems whose parameters are tuned, one instance after another."""
