"""Compression workloads: pruning, and later quantisation and merging."""
