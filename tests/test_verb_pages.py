"""A documentation page a verb, as the program is: what it takes, and an example that was really run."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest

from tests.surroundings import ROOT


def _module() -> ModuleType:
    specification = importlib.util.spec_from_file_location("verb_pages", ROOT / "docs" / "verb_pages.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["verb_pages"] = module
    specification.loader.exec_module(module)
    return module


verb_pages = _module()
VERBS = verb_pages.commands()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_its_page_is_up_to_date(verb: str) -> None:
    page = verb_pages.PAGES / f"{verb}.md"
    again = f"docs/verbs/{verb}.md is not as the program is; write it again: {verb_pages.AGAIN} {verb}"
    assert page.is_file(), again
    text = page.read_text(encoding="utf-8")
    # plain asserts: pytest's comparison of two long texts would hide the command
    same = text.split(f"\n{verb_pages.EXAMPLE}\n")[0].rstrip() == verb_pages.reference(verb, VERBS[verb]).rstrip()
    assert same, again


@pytest.mark.parametrize("verb", sorted(set(VERBS) & set(verb_pages.EXAMPLES)))
def test_its_example_was_run(verb: str) -> None:
    text = (verb_pages.PAGES / f"{verb}.md").read_text(encoding="utf-8")
    again = f"write it again: {verb_pages.AGAIN} {verb}"
    example = text.partition(f"\n{verb_pages.EXAMPLE}\n")[2]
    for line in verb_pages.EXAMPLES[verb]:
        assert f"$ {line}\n" in example, again
    assert not re.search(r"internal error|Traceback|^error:|\x1b", example, re.MULTILINE), again
    assert not re.search(r"(?<![\w.])/(tmp|root|home|work|usr)/", text), f"a path of some machine is in it; {again}"


def test_no_page_is_of_a_verb_that_is_gone() -> None:
    assert {page.stem for page in verb_pages.PAGES.glob("*.md")} <= set(VERBS), f"remove it: {verb_pages.AGAIN}"
