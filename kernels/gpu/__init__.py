"""Kernels for NVIDIA GPUs in Triton, which objectives run."""
