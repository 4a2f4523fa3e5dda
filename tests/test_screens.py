# SPDX-License-Identifier: MIT
"""The pictures of the screens in the documentation show the screens as they are."""

from __future__ import annotations

import asyncio
import html
import importlib.util
import re
from pathlib import Path

import pytest
from campaigns import campaign
from support.leftovers import only_one

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "screens"
_spec = importlib.util.spec_from_file_location("screens_make", FOLDER / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)
SOME = ["watch-values", "tasks"]


def text_of(picture: str) -> str:
    """What there is to read in it: colours and positions are Textual's affair."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "", picture, flags=re.DOTALL)).replace("\xa0", " ")


@pytest.mark.parametrize("name", [*SOME, *campaign(*(name for name in make.PICTURES if name not in SOME))])
def test_a_picture_shows_the_screen_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with only_one(make.LOCK):
        picture = asyncio.run(make.PICTURES[name]())
    kept = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert text_of(picture) == text_of(kept), "make them anew: python docs/screens/make.py"
    assert "@font-face" not in kept


def test_there_is_a_picture_of_each_and_no_other() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.svg")) == sorted(make.PICTURES)
