"""Gaussian processes: tensors in, tensors out; no study, no input or output."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():  # importing linear_operator meets torch.jit.script, which torch deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import botorch.acquisition.multi_objective.logei as _logei
    import botorch.models  # noqa: F401

# BoTorch compiles a C++ kernel when its first hypervolume acquisition is made: up to 46 s for a few milliseconds saved.
# The private flag says that this was tried already; where it is missing, so is the compilation.
if hasattr(_logei, "_load_attempted"):
    _logei._load_attempted = True
