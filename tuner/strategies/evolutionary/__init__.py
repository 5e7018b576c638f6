"""Strategies that evolve a population."""
