"""Strategies that model the metrics: Gaussian processes and Parzen estimators."""
