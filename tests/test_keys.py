"""KeySet against a Python set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.keys import KeySet

# Few different bytes, and many zeros, which NumPy drops at the end of a byte string.
KEYS = st.lists(st.binary(min_size=2, max_size=2).map(lambda b: bytes([b[0] % 4, *b"\0" * 13, b[1] % 4, 0])))


@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=6), KEYS)
def test_it_is_a_set(batches: list[tuple[bool, list[bytes]]], asked: list[bytes]) -> None:
    ours, reference = KeySet(), set[bytes]()
    for at_once, keys in batches:
        reference.update(keys)
        if at_once:
            ours.update(keys)
        else:
            for key in keys:
                ours.add(key)
        assert len(ours) == len(reference)
    assert [key in ours for key in asked] == [key in reference for key in asked]


def test_it_merges_what_was_added_one_by_one() -> None:
    keys = [n.to_bytes(16, "little") for n in range(5000)]
    ours = KeySet()
    for key in [*keys, *keys]:
        ours.add(key)
    assert len(ours) == len(keys)
    assert all(key in ours for key in keys)
    assert (5000).to_bytes(16, "little") not in ours
