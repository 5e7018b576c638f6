"""Counter-based randomness: every draw is a function of (study seed, trial number, stream), never of call order.

That is what makes an interrupted study, continued, propose the same points as one that was not interrupted.
"""

from __future__ import annotations

import numpy as np


def generator(seed: int, trial: int, stream: int = 0) -> np.random.Generator:
    """The generator of one trial's proposal; `stream` tells repeated draws for the same trial apart."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, trial, stream])))


def trial_seed(seed: int, trial: int, replicate: int = 0) -> int:
    """The seed an objective is handed, in [0, 2**31): accepted by numpy, torch and the standard library alike."""
    state = np.random.SeedSequence([seed, trial, replicate, 1]).generate_state(1)
    return int(state[0]) & 0x7FFFFFFF
