# SPDX-License-Identifier: MIT
"""Names: what is one, what is not, and the file that stands for it."""

from __future__ import annotations

import os
import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from root import ROOT
from support.here import UID, WINDOWS, opened

from memorymapped import InvalidNameError, MemoryMappedFile, NameInUseError
from memorymapped.system.names import Scope, decode, encode, parse

FOLDER = ROOT / f"memorymapped-{UID}"

# Any text but NUL, lone surrogates, backslashes.
texts = st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), min_size=1, max_size=40)
relaxed = settings(deadline=None)
safe = frozenset(string.ascii_letters + string.digits + "-_.%~")


def file_of(name: str) -> str:
    """The file name of a map, as the file system shows it."""
    with MemoryMappedFile.create_new(name, 1) as map_:
        assert map_.path is not None
        folder, _, file = map_.path.rpartition("/")
        assert folder in (str(FOLDER), str(ROOT / "memorymapped-global"))
        assert file in os.listdir(folder)
        return file


# ------------------------------------------------------------------------------------------------------------- encoding


@relaxed
@given(texts)
@example(".")
@example("..")
@example("a/b")
@example("a\nb")
@example("%41")
@example("a~b@c")
@example("\x01\x7f\x80\xff")
@example("😀")
def test_a_short_text_becomes_a_file_name_that_can_be_turned_back(text: str) -> None:
    stem, is_long = encode(text)
    assume(not is_long)
    assert decode(stem) == text
    assert set(stem) <= safe - {"~"}
    assert not stem.startswith(".")
    assert "/" not in stem


@relaxed
@given(st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), min_size=60, max_size=400))
def test_a_text_of_any_length_becomes_a_short_ascii_file_name(text: str) -> None:
    stem, is_long = encode(text)
    assert set(stem) <= safe
    assert ("~" in stem) == is_long
    assert len(stem) <= 200
    if is_long:
        assert len(stem) <= 40 + 1 + 52
        assert decode(stem) is None


@relaxed
@given(texts, texts)
@example("A", "a")
@example("é", "e\u0301")
@example("a", "a ")
@example("%2E", ".")
@example("a%", "a%25")
def test_different_texts_have_different_files(one: str, other: str) -> None:
    assume(one != other)
    assert encode(one) != encode(other)


@relaxed
@given(st.text("ab%é😀/.", min_size=190, max_size=210), st.text("ab", min_size=1, max_size=3))
def test_different_long_texts_with_a_common_beginning_have_different_files(text: str, tail: str) -> None:
    assert encode(text)[0] != encode(text + tail)[0]


@pytest.mark.parametrize(
    ("text", "is_long"), [("a" * 200, False), ("a" * 201, True), ("é" * 33, False), ("é" * 34, True)]
)
def test_200_bytes_are_the_longest_that_is_kept_readable(text: str, is_long: bool) -> None:
    assert encode(text)[1] is is_long


def test_a_long_text_keeps_a_readable_beginning_of_whole_characters_bytes() -> None:
    stem, _ = encode("x" * 39 + "é" * 300)
    readable, _, digest = stem.partition("~")
    assert readable == "x" * 39  # "%C3" would be cut at 40
    assert len(digest) == 52


@relaxed
@given(st.text(st.characters(max_codepoint=0x2FF), max_size=12))
@example("%")
@example("%4")
@example("%+1")
@example("% 1")
@example("%4_")
@example("%zz")
@example("%41")
@example("%2e")
@example("a b")
@example("é")
@example("\udcff")
@example("%FF")
@example("%00")
@example("%5C")
@example("")
@example(".hidden")
def test_what_is_no_file_name_of_ours_stands_for_no_text(file: str) -> None:
    """Files of others lie in shared folders: whatever they are named, a text comes back only if it leads there."""
    text = decode(file)
    if text is not None:
        assert encode(text) == (file, False)
        assert parse("User\\" + text).text == text


# ------------------------------------------------------------------------------------------------------- what is a name


@pytest.mark.parametrize(
    ("given_name", "scope", "text"),
    [
        ("a", Scope.USER, "a"),
        ("User\\a", Scope.USER, "a"),
        ("Local\\a", Scope.LOCAL, "a"),
        ("Global\\a", Scope.GLOBAL, "a"),
        ("Global", Scope.USER, "Global"),
        ("Global/a", Scope.USER, "Global/a"),
        ("User", Scope.USER, "User"),
        (" ", Scope.USER, " "),
    ],
)
def test_a_prefix_says_the_scope(given_name: str, scope: Scope, text: str) -> None:
    name = parse(given_name)
    assert (name.scope, name.text, name.given) == (scope, text, given_name)


@pytest.mark.parametrize(
    "name",
    ["\\", "a\\", "\\a", "user\\a", "USER\\a", "local\\a", "LOCAL\\a", "global\\a", "GLOBAL\\a", "Global\\", "Local\\",
     "User\\", "Session\\a", "Global\\a\\b", "Global\\\\a", "a\\b", "Global\\Global\\a", "User\\Local\\a", "Global \\a",
     "\0", "a\0", "Global\\a\0b", "\ud800", "a\udfff", "Local\\\udc80"],
)  # fmt: skip
@pytest.mark.parametrize("make", ["create_new", "create_or_open", "open_existing", "create_from_file"])
def test_what_is_no_name_is_refused_by_everything_that_takes_one(name: str, make: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    with pytest.raises(InvalidNameError) as caught:
        {
            "create_new": lambda: MemoryMappedFile.create_new(name, 1),
            "create_or_open": lambda: MemoryMappedFile.create_or_open(name, 1),
            "open_existing": lambda: MemoryMappedFile.open_existing(name),
            "create_from_file": lambda: MemoryMappedFile.create_from_file(tmp_path / "file", map_name=name, capacity=9),
        }[make]()
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, FileNotFoundError)
    assert (tmp_path / "file").read_bytes() == b"1234"


@pytest.mark.parametrize("name", [b"a", 1, ["a"], Path("a"), object()])
def test_a_name_is_text(name: object) -> None:
    for call in (
        lambda: MemoryMappedFile.create_new(name, 1),  # type: ignore[arg-type]
        lambda: MemoryMappedFile.create_or_open(name, 1),  # type: ignore[arg-type]
        lambda: MemoryMappedFile.open_existing(name),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        MemoryMappedFile.create_new("", 1)


# ----------------------------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize(
    "name",
    [".", "..", "...", ".a", "/", "a/b", "../a", "/etc/passwd", "\n", "a\r\nb", "\t", " ", "*", "~", "@", "%", "%2F",
     "-rf", "a.map", "a.name", "\x01", "\x7f", "é", "e\u0301", "日本語", "😀", "\u202e", "\ufeff", "\uffff",
     "\U0010ffff", "x" * 1_000, "😀" * 1_000, "/" * 1_000, "x" * 100_000, "😀" * 100_000],
    ids=lambda name: ascii(name[:12]) + f"x{len(name)}",
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "Local\\", "Global\\"])
def test_any_text_names_a_map(prefix: str, name: str) -> None:
    with MemoryMappedFile.create_new(prefix + name, 3) as map_:
        assert map_.name == prefix + name
        if not WINDOWS:  # there no file is behind a name
            assert map_.path is not None
            assert os.stat(map_.path).st_size == 3
        with MemoryMappedFile.open_existing(prefix + name) as again:
            assert again.generation == map_.generation
        with pytest.raises(NameInUseError):
            MemoryMappedFile.create_new(prefix + name, 3)
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing(prefix + name)


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, min_size=2, max_size=4, unique=True))
def test_maps_of_different_names_are_different(names: list[str]) -> None:
    maps = [MemoryMappedFile.create_new(name, 1) for name in names]
    try:
        for i, map_ in enumerate(maps):
            map_.create_view_accessor().write_byte(0, i + 1)
        for i, (name, map_) in enumerate(zip(names, maps, strict=True)):
            with MemoryMappedFile.open_existing(name) as again:
                assert again.generation == map_.generation
                assert again.create_view_accessor().read_byte(0) == i + 1
    finally:
        for map_ in maps:
            map_.close()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("name", "Name"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
        ("a", "a "),
        ("a", "a\n"),
        ("x" * 1_000, "x" * 999),
        ("x" * 1_000, "x" * 999 + "y"),
        ("x" * 201, "X" * 201),
        ("x" * 40, "x" * 40 + "~"),
        ("k", "\u212a"),  # the sign for Kelvin is a k when folded
    ],
)
def test_no_case_no_normalization_and_no_common_beginning_makes_two_names_one(one: str, other: str) -> None:
    with MemoryMappedFile.create_new(one, 1), MemoryMappedFile.create_new(other, 5000) as second:
        with MemoryMappedFile.open_existing(one) as again:
            assert again.capacity == opened(1)
        assert second.capacity == 5000


@pytest.mark.parametrize("prefix", ["", "Local\\", "Global\\"])
@pytest.mark.parametrize("length", [150, 200, 201, 5_000])
def test_the_longest_file_names_fit(prefix: str, length: int) -> None:
    file = file_of(prefix + "x" * length)
    longest_kind_to_come = ".semaphore"
    assert len(file) - len(".map") + len(longest_kind_to_come) + len(".name") <= 255


# -------------------------------------------------------------------------------------------------------- the side file


@pytest.mark.parametrize("prefix", ["", "Local\\", "Global\\"])
def test_a_long_name_is_written_down_beside_the_object_and_goes_with_it(prefix: str) -> None:
    text = "naïve\n" * 100
    map_ = MemoryMappedFile.create_new(prefix + text, 1)
    assert map_.path is not None
    side = Path(map_.path + ".name")
    assert side.read_bytes() == text.encode()
    assert side.stat().st_mode & 0o777 == 0o600
    with MemoryMappedFile.open_existing(prefix + text):
        map_.close()
        assert side.exists()
    assert not side.exists()
    assert not Path(map_.path).exists()


def test_a_short_name_needs_no_side_file() -> None:
    with MemoryMappedFile.create_new("x" * 200, 1) as map_:
        assert map_.path is not None
        assert not Path(map_.path + ".name").exists()


def test_a_new_generation_writes_the_side_file_anew() -> None:
    """Somebody's leftover of the side file, a link even, is replaced and not written through."""
    text = "y" * 300
    stem, _ = encode(text)
    with MemoryMappedFile.create_new("keeps the folder", 1):
        victim = FOLDER / "victim"
        victim.write_bytes(b"untouched")
        (FOLDER / f"{stem}.map.name").symlink_to(victim)
        with MemoryMappedFile.create_new(text, 1) as map_:
            side = Path(f"{map_.path}.name")
            assert not side.is_symlink()
            assert side.read_text() == text
        assert victim.read_bytes() == b"untouched"
        victim.unlink()
