"""Gaussian processes: tensors in, tensors out; no study, no input or output."""
