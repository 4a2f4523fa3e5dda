# SPDX-License-Identifier: MIT
"""What the README and the pages show is true: examples run, links lead somewhere, commands are those that CI runs."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import numpy
import pytest
from support.leftovers import only_one

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for page in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("samples/*.md")]
    if page.is_file()
)


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_first_example_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    first = python_blocks(REPOSITORY / "README.md")[0]
    promised = re.search(r"#\s+(9\.75 .*)$", first, re.MULTILINE)
    assert promised
    exec(compile(first, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == promised[1]


def test_the_second_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import memorymapped

    monkeypatch.chdir(tmp_path)
    Path("big.dat").write_bytes(bytes(2_000_000))
    names = dict(vars(memorymapped), numpy=numpy, offsets=[0, 8, 1001])
    exec(compile(python_blocks(REPOSITORY / "README.md")[1], "README.md", "exec"), names)
    assert names["record"] == (0, 0.0)
    assert names["array"].size == 500_000
    assert list(names["values"]) == [0.0, 0.0, 0.0]


def test_the_examples_of_structures_and_what_is_shared_run(capsys: pytest.CaptureFixture[str]) -> None:
    import memorymapped

    structures, shared, segments = python_blocks(REPOSITORY / "README.md")[2:5]
    names = dict(vars(memorymapped), **{name: getattr(memorymapped, name) for name in memorymapped.__all__})
    names.update(Annotated=Annotated)
    with memorymapped.MemoryMappedFile.create_new(None, 4096) as map, map.create_view_accessor() as view:
        names.update(view=view)
        exec(compile(structures, "README.md", "exec"), names)
        assert names["data"].name == "first"
        assert "struct MyData" in capsys.readouterr().out
    exec(compile(shared.replace("timeout=5", "timeout=0"), "README.md", "exec"), names)
    assert capsys.readouterr().out == "0\n"
    exec(compile(segments.replace("timeout=5", "timeout=0"), "README.md", "exec"), names)
    assert capsys.readouterr().out == "hello 1\n"
    assert names["text"] == "hello"


def test_the_first_example_of_segment_files_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    first = python_blocks(REPOSITORY / "docs" / "segment-files.md")[0]
    promised = re.search(r"print\(.*#\s+(.*)$", first, re.MULTILINE)
    assert promised
    exec(compile(first, "segment-files.md", "exec"), {})
    assert capsys.readouterr().out.strip() == promised[1]


def test_the_page_on_faults_shows_the_message_that_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import memorymapped

    monkeypatch.chdir(tmp_path)
    Path("log").write_bytes(bytes(20_000))
    example = python_blocks(REPOSITORY / "docs" / "files.md")[0]
    said: list[str] = []
    names = dict(vars(memorymapped), truncate=os.truncate, print=lambda text: said.append(str(text)))
    exec(compile(example.replace("    ...  ", "    truncate('log', 0)  "), "files.md", "exec"), names)
    promised = re.search(r"print\(error\)\s+# (.*)$", example, re.MULTILINE)
    assert promised
    pattern = ".*".join(re.escape(part) for part in promised[1].split("..."))
    assert len(said) == 1
    assert re.fullmatch(pattern, said[0]), said[0]


def test_the_examples_of_events_and_semaphores_run() -> None:
    import memorymapped

    blocks = python_blocks(REPOSITORY / "docs" / "synchronization.md")
    found = [block for block in blocks if "AutoResetEvent(" in block or " = Semaphore(" in block]
    assert len(found) == 2
    for block in found:
        exec(block, {name: getattr(memorymapped, name) for name in memorymapped.__all__})


def test_the_example_of_shared_memory_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = python_blocks(REPOSITORY / "docs" / "shared-memory.md")
    promised = re.search(r"print\(.*\) +# (.*)$", block, re.MULTILINE)
    assert promised
    with only_one("ShmemTest.lock"):
        exec(compile(block, "shared-memory.md", "exec", dont_inherit=True), {"__name__": __name__})
    assert capsys.readouterr().out.strip() == promised[1]


def test_the_example_of_lists_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = python_blocks(REPOSITORY / "docs" / "struct-arrays.md")
    promised = re.findall(r"print\(.*\) +# (.*)$", block, re.MULTILINE)
    assert len(promised) == 2
    with only_one("ticks.lock"):
        exec(compile(block, "struct-arrays.md", "exec", dont_inherit=True), {"__name__": __name__})
    assert capsys.readouterr().out.splitlines() == promised


def test_the_example_of_tasks_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = python_blocks(REPOSITORY / "docs" / "tasks.md")
    promised = re.search(r"print\(.*\) +# (.*)$", block, re.MULTILINE)
    assert promised
    exec(compile(block, "tasks.md", "exec", dont_inherit=True), {})
    assert capsys.readouterr().out.strip() == promised[1]


def test_the_documents_of_the_page_on_tasks_are_read() -> None:
    from memorymapped.tasks.source_format import read_answer, read_tasks

    text = (REPOSITORY / "docs" / "tasks.md").read_text(encoding="utf-8")
    (xml,), (answer,) = (
        re.findall(rf"^```{form}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) for form in ("xml", "json")
    )
    assert read_tasks(xml)[0].parameters == read_answer(answer).details.parameters


def test_the_page_on_structures_is_true() -> None:
    import memorymapped

    page = REPOSITORY / "docs" / "structs.md"
    names = {name: getattr(memorymapped, name) for name in memorymapped.__all__}
    names |= {"Annotated": Annotated, "Literal": Literal, "Decimal": Decimal, "numpy": numpy}
    for block in python_blocks(page):
        exec(compile(block, "structs.md", "exec"), names)
    text = page.read_text(encoding="utf-8")
    shown = re.search(r"^```\n(Order: .*?)\n```$", text, re.DOTALL | re.MULTILINE)
    declared = re.search(r"^```c\n(.*?)```$", text, re.DOTALL | re.MULTILINE)
    assert shown
    assert declared
    assert shown[1] == str(names["Order"].layout)
    assert declared[1] in names["Order"].layout.c()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for page in REPOSITORY.glob("docs/*.md"):
        assert f"(docs/{page.name})" in text, page.name


def lines_of_the_page_on_windows() -> Counter[str]:
    text = (REPOSITORY / "docs" / "windows.md").read_text(encoding="utf-8")
    return Counter(re.findall(r"^(?:- |\| )\*\*(.+?)\*\*", text, re.MULTILINE))


def test_no_two_lines_of_the_page_on_windows_have_one_label() -> None:
    assert [label for label, times in lines_of_the_page_on_windows().items() if times > 1] == []


@pytest.mark.parametrize("table", sorted(REPOSITORY.glob("tests/windows/skips/*.toml")), ids=lambda table: table.stem)
def test_what_does_not_run_on_windows_is_a_test_and_a_line_of_the_page_says_why(table: Path) -> None:
    text = (REPOSITORY / "tests" / f"{table.stem}.py").read_text(encoding="utf-8")
    tests = re.findall(r"^ *(?:async )?def (test_\w+)\(", text, re.MULTILINE)
    for label, entries in tomllib.loads(table.read_text(encoding="utf-8")).items():
        assert label in lines_of_the_page_on_windows()
        for entry in entries:
            pattern = ".*".join(map(re.escape, entry.partition("[")[0].split("*")))
            assert any(re.fullmatch(pattern, test) for test in tests), entry


def test_files_that_do_not_run_on_windows_are_there_and_a_line_of_the_page_says_why() -> None:
    table = tomllib.loads((REPOSITORY / "tests" / "windows" / "files.toml").read_text(encoding="utf-8"))
    for label, names in table.items():
        assert label in lines_of_the_page_on_windows()
        for name in names:
            assert (REPOSITORY / "tests" / name).exists(), name


def test_what_the_tests_say_of_the_page_on_windows_is_there() -> None:
    for path in REPOSITORY.glob("tests/**/test_*.py"):
        for label in re.findall(r"docs/windows\.md[,:] ([a-z][a-z ]+)", path.read_text(encoding="utf-8")):
            assert label in lines_of_the_page_on_windows(), f"{path.name} refers to {label!r}"


def test_ci_finds_the_commands_of_the_readme() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert re.search(rf"^<!-- command: {command} -->\n```sh\n[^`]+\n```$", text, re.MULTILINE), command
