# SPDX-License-Identifier: MIT
"""The documents of the task programs: what is written is read again as it was, fits the published schemas, and what is
read is not trusted. The schemas are asked with validators that are none of ours."""

from __future__ import annotations

import ast
import functools
import json
import random
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

import memorymapped.tasks
from memorymapped.tasks import destination_format, documents, source_format
from memorymapped.tasks.model import PRIORITIES, STATES, Task
from memorymapped.tasks.shapes import DEEPEST, LONGEST, DocumentError

PACKAGE = Path(memorymapped.tasks.__file__).parent
FORMS = ("xml", "json")
XMLNS = 'xmlns="urn:memorymapped:tasks" version="1"'

titles = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200).filter(
    lambda t: t.strip(" ")
)
words = st.text("ABCabc012._-", min_size=1, max_size=64)
names = words.map(lambda word: f"n{word}"[:64])
texts = st.text(max_size=50)
durations = st.floats(0, 1e6, allow_nan=False)
tasks = st.builds(
    Task,
    titles,
    id=words,
    description=texts,
    priority=st.sampled_from(PRIORITIES),
    duration=durations,
    parameters=st.dictionaries(names, texts, max_size=4),
    state=st.sampled_from(STATES),
)
outcomes = st.builds(
    destination_format.Outcome,
    st.sampled_from(["succeeded", "failed", "cancelled", "timedOut"]),
    st.floats(0, 1e9),
    output=texts,
    truncated=st.booleans(),
    message=texts,
    exit_code=st.none() | st.integers(-(2**31), 2**31 - 1),
    signal=st.none() | st.integers(1, 64),
)


@functools.cache
def schema(form: str) -> Any:
    """A function that says what is wrong with a document, empty if nothing is."""
    folder = files("memorymapped.tasks").joinpath("schemas")
    if form == "xml":
        xsd = etree.XMLSchema(etree.fromstring(folder.joinpath("tasks.xsd").read_bytes()))

        def ask(text: str) -> str:
            return "" if xsd.validate(etree.fromstring(text.encode())) else str(xsd.error_log)
    else:
        rules = json.loads(folder.joinpath("tasks.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(rules)
        del rules["$id"]  # older versions of jsonschema look for "#/..." behind a urn in vain
        validator = jsonschema.Draft202012Validator(rules)

        def ask(text: str) -> str:
            return "\n".join(map(str, validator.iter_errors(json.loads(text))))

    return ask


def fits(text: str) -> None:
    assert schema(documents.format_of(text))(text) == ""


# -------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None)
@given(given_tasks=st.lists(tasks, max_size=3, unique_by=lambda task: task.id))
def test_tasks_cross_as_they_are(form: str, given_tasks: list[Task]) -> None:
    text = source_format.write_tasks(given_tasks, form)
    fits(text)
    assert source_format.read_tasks(text) == given_tasks
    there, seen = destination_format.read_tasks(text)
    assert seen == form
    assert [{name: getattr(task, name) for name in source_format.FIELDS.shapes} for task in there] == [
        task.fields() for task in given_tasks
    ]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None)
@given(task=tasks, outcome=outcomes)
def test_an_answer_crosses_as_it_is(form: str, task: Task, outcome: destination_format.Outcome) -> None:
    offered = destination_format.OfferedTask(task.id, task.title, task.duration, parameters=task.parameters)
    text = destination_format.write_answer(offered, outcome, form)
    fits(text)
    answer = source_format.read_answer(text)
    assert (answer.details.id, answer.details.title) == (task.id, task.title)
    assert (answer.details.duration, answer.details.parameters) == (task.duration, task.parameters)
    assert {name: getattr(answer.result, name) for name in outcome.__slots__} == {
        name: getattr(outcome, name) for name in outcome.__slots__
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "text",
    [
        "\0\x01\x08\x0b\x1f\x7f\x85",
        "]]>",
        "<![CDATA[x]]>",
        "&amp;&#0;",
        " \r\n\t ",
        "\ufffe\uffff\ufeff",
        "\U0010ffff",
        "'\"",
    ],
)
def test_any_text_crosses(form: str, text: str) -> None:
    task = Task("t", description=text, parameters={"p": text})
    written = source_format.write_tasks([task], form)
    fits(written)
    assert source_format.read_tasks(written) == [task]


@pytest.mark.parametrize("form", FORMS)
def test_half_a_surrogate_pair_is_refused_when_written(form: str) -> None:
    task = destination_format.OfferedTask("a", "t", 1.0)
    with pytest.raises(DocumentError, match=r"answer\.result\.output: U\+D800"):
        destination_format.write_answer(task, destination_format.Outcome("failed", 1.0, output="a\ud800"), form)


def test_the_sides_share_no_class() -> None:
    """Each is written from the schemas: it imports nothing of the other, and nothing that knows what a task is."""
    sides = {
        "source": {"model", "store", "source_format", "source", "elsewhere"},
        "destination": {"destination_format", "destination", "commands"},
    }
    both = {"choosing", "shapes", "documents", "xml_documents", "json_documents", "processes", "__init__"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == sides["source"] | sides["destination"] | both
    for side, own in [*sides.items(), ("both", both)]:
        for module in own:
            tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
            imported = {
                name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.level == 1
                for name in ([node.module] if node.module else [alias.name for alias in node.names])
            }
            assert imported <= both | (set() if side == "both" else own), f"{module} imports {imported}"


# ---------------------------------------------------------------------------------------------------- the same rules

junk = st.sampled_from(
    [None, True, False, 0, -1, 1.0, 1.5, 2**70, "", "x", " ", "low", "1", [], {}, [1], {"a": "b"}, "a" * 201]
)


def some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these, most of them as they should be, and perhaps one more."""
    good = st.fixed_dictionaries(fields)
    broken = st.tuples(good, st.sampled_from([*fields, "other"]), junk | st.just("-")).map(
        lambda each: {k: v for k, v in {**each[0], each[1]: each[2]}.items() if v != "-"}
    )
    return good | broken


one_task = some(
    {
        "id": words,
        "title": titles,
        "duration": durations | st.integers(0, 10**6),
        "priority": st.sampled_from(PRIORITIES),
        "parameters": st.dictionaries(names, texts, max_size=2),
    }
)
one_answer = st.fixed_dictionaries(
    {
        "details": some({"id": words, "title": titles, "duration": durations}),
        "result": some(
            {
                "outcome": st.just("failed"),
                "seconds": durations,
                "exitCode": st.integers(-5, 5),
                "truncated": st.booleans(),
            }
        ),
    }
)


def refused(text: str, answer: bool = False) -> str:
    """Why both sides do not read it; empty if they do."""
    try:
        if answer:
            source_format.read_answer(text)
        else:
            source_format.read_tasks(text)
    except DocumentError as error:
        said = str(error)
    else:
        said = ""
    if not answer:
        if said:
            with pytest.raises(DocumentError):
                destination_format.read_tasks(text)
        else:
            destination_format.read_tasks(text)
    return said


@settings(max_examples=80, deadline=None)
@given(task=one_task, version=st.sampled_from([1, 1, 1, 1.0, 2, True, "1"]))
def test_json_is_refused_just_where_the_schema_refuses_it(task: dict[str, Any], version: object) -> None:
    text = json.dumps({"version": version, "tasks": [task]})
    assert bool(refused(text)) == bool(schema("json")(text)), (refused(text), schema("json")(text))


@settings(max_examples=60, deadline=None)
@given(answer=one_answer)
def test_json_answers_are_refused_just_where_the_schema_refuses_them(answer: dict[str, Any]) -> None:
    text = json.dumps({"version": 1, "answer": answer})
    assert bool(refused(text, True)) == bool(schema("json")(text)), (refused(text, True), schema("json")(text))


def as_xml(task: dict[str, Any], shuffled: random.Random) -> str:
    root = etree.Element("{urn:memorymapped:tasks}tasks", {"version": "1"}, {None: "urn:memorymapped:tasks"})  # type: ignore[dict-item]
    element = etree.SubElement(root, "{urn:memorymapped:tasks}task")
    for name, value in shuffled.sample(sorted(task.items(), key=lambda each: each[0]), len(task)):
        child = etree.SubElement(element, f"{{urn:memorymapped:tasks}}{name}")
        if isinstance(value, dict):
            for key, text in value.items():
                pair = etree.SubElement(child, "{urn:memorymapped:tasks}parameter", {"name": key})
                pair.text = text
        elif value is not None:
            child.text = str(value)
    return etree.tostring(root, encoding="unicode")


@settings(max_examples=80, deadline=None)
@given(task=one_task, shuffled=st.randoms(use_true_random=False))
def test_xml_that_the_schema_refuses_is_refused(task: dict[str, Any], shuffled: random.Random) -> None:
    try:
        text = as_xml(task, shuffled)
    except ValueError:  # lxml writes no text that XML cannot hold
        return
    said = refused(text)
    if schema("xml")(text):
        assert said
    elif ".title: " not in said:  # how long it may be is said in words only
        assert said == ""


# ------------------------------------------------------------------------------------------------------- what is wrong


def one(inside: str) -> str:
    return f"<tasks {XMLNS}>\n<task><id>a</id><title>t</title>\n{inside}</task></tasks>"


def member(inside: str) -> str:
    return f'{{"version": 1, "tasks": [{{"id": "a", "title": "t", {inside}}}]}}'


def parameter(inside: str) -> str:
    return one(f"<duration>1</duration><parameters>{inside}</parameters>")


MALFORMED = {
    "": "line 1, column 1: neither XML nor JSON: expected < or { first, not nothing",
    "nonsense": "neither XML nor JSON: expected < or { first, not 'n'",
    "<tasks": "line 1, column 1: no well-formed XML: unclosed token",
    "<tasks/>": "expected <tasks xmlns=\"urn:memorymapped:tasks\">, not <tasks> without a namespace",
    '<tasks xmlns="urn:other" version="1"/>': "of the namespace 'urn:other'",
    f"<answer {XMLNS}/>": "not <answer>",
    '<tasks xmlns="urn:memorymapped:tasks"/>': "tasks: expected version 1, not None",
    '<tasks xmlns="urn:memorymapped:tasks" version="2"/>': "tasks: expected version 1, not '2'",
    f"<tasks {XMLNS} more='1'/>": "the attribute 'more' is not known here",
    f"<tasks {XMLNS}><job/></tasks>": "tasks: <job> is not known here: expected task",
    f"<tasks {XMLNS}><task/></tasks>": "tasks[0]: id, title, duration missing",
    f"<tasks {XMLNS}>text</tasks>": "tasks: expected elements, not the text 'text'",
    one(""): "line 2, column 1: tasks[0]: duration missing",
    one("<duration>1</duration><colour/>"): "line 3, column 23: tasks[0]: 'colour' is not known here: expected id",
    one("<duration>soon</duration>"): "line 3, column 1: tasks[0].duration: expected a number, not 'soon'",
    one("<duration>NaN</duration>"): "tasks[0].duration: expected a number, not 'NaN'",
    one("<duration>-1</duration>"): "expected a number from 0 to 1e+06, not -1.0",
    one("<duration>1</duration><duration>1</duration>"): "tasks[0].duration: is there twice",
    one("<duration><b/></duration>"): "tasks[0].duration: expected text only, not <b>",
    one("<duration>1</duration><priority>huge</priority>"): "tasks[0].priority: expected one of low, normal",
    parameter("<parameter>x</parameter>"): "name: expected a name",
    parameter('<parameter name="a"/><parameter name="a"/>'): "[a]: is there twice",
    one('<duration>1</duration><description encoding="rot13"/>'): "expected no encoding but base64",
    one('<duration>1</duration><description encoding="base64">=</description>'): "expected base64 of UTF-8",
    one('<duration>1</duration><description encoding="base64">/w==</description>'): "expected base64 of UTF-8",
    one("<duration>1</duration><description>&#1;</description>"): "no well-formed XML: reference to invalid character",
    one("<duration>1</duration><description>\x01</description>"): "no well-formed XML",
    one("<duration>1</duration><description>&other;</description>"): "no well-formed XML: undefined entity",
    one("<duration>1</duration><description>\ud800</description>"): "line 3, column 36: half of a surrogate pair",
    f"<!DOCTYPE tasks SYSTEM 'file:///etc/passwd'><tasks {XMLNS}/>": "a document type (DOCTYPE) is not allowed here",
    f"<!DOCTYPE x [<!ENTITY a 'b'>]><tasks {XMLNS}>&a;</tasks>": "a document type (DOCTYPE) is not allowed here",
    f"<?xml-stylesheet href='x'?><tasks {XMLNS}/>": "a processing instruction is not allowed here",
    f"<?xml version='1.0' encoding='iso-8859-1'?><tasks {XMLNS}/>": "expected the encoding UTF-8 or UTF-16",
    f"<tasks {XMLNS}/><tasks/>": "no well-formed XML: junk after document element",
    "{": "line 1, column 2: tasks: expected a name in quotes",
    "{}": "version, tasks missing",
    "{'version': 1}": "expected a name in quotes",
    '{"version": 2, "tasks": 5}': "version: expected version 1, not 2",
    '{"tasks": [], "version": 1} x': "line 1, column 29: expected nothing behind the document",
    '{"version": 1, "tasks": [], "tasks": []}': "'tasks' is there twice",
    '{"version": 1,\n "tasks": [{"id": 5}]}': "line 2, column 19: tasks[0].id: expected letters, digits, and",
    member('"duration": NaN'): "tasks[0].duration: expected a value",
    member('"duration": 1e999'): "tasks[0].duration: expected a number from 0",
    member('"duration": 01'): "tasks[0]: expected , or }",
    member('"duration": ' + "9" * 5000): "tasks[0].duration: expected a number from 0",
    '{"version": 1, "tasks": [], "$schema": 1}': "$schema: expected a text",
    '{"version": 1, "tasks": [{"id": "a", "title": "\\ud800", "duration": 1}]}': "tasks[0].title: U+D800",
    member('"description": "\t"'): "no well-formed JSON: Invalid control character",
    member('"duration": 1}, {"id": "a", "title": "t", "duration": 1'): "tasks[1].id: the id 'a' is there twice",
    '{"version": 1, "tasks": [[]]}': "tasks[0]: expected an object",
    '{"version": 1, "tasks": [null]}': "tasks[0]: expected an object",
    '{"version": 1, "tasks": [': "tasks[0]: expected an object",
}  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_malformed_or_unknown_is_told_with_its_place(text: str) -> None:
    assert MALFORMED[text] in refused(text)


WHOLE = Task("t <x>", id="a", description="\x01", parameters={"n": "&", "m": "\r"})
OF_XML = ["<", ">", "/", "&", "&#0;", "]]>", "<![CDATA[", "<!--", "<?", "<!DOCTYPE", "<task>", "xmlns="]
OF_JSON = ['"', "\\", "\\u", "{", "}", "[", "]", ",", ":", "null", "1e", "-"]
PIECES = [*OF_XML, *OF_JSON, ' encoding="base64"', "\0", "\ud800", "\ufeff"]


@settings(max_examples=100, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 20), st.sampled_from(PIECES) | st.text(max_size=3)),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_a_document_has_become_it_is_read_or_refused(form: str, changes: list[tuple[float, int, str]]) -> None:
    text = source_format.write_tasks([WHOLE], form)
    for place, cut, piece in changes:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + cut :]
    refused(text)  # by both sides, with a DocumentError, or by none


@pytest.mark.parametrize("form", FORMS)
def test_no_document_costs_more_than_its_length(form: str) -> None:
    opening = f"<tasks {XMLNS}><task>" if form == "xml" else '{"version": 1, "tasks": [{"id":'
    with pytest.raises(DocumentError, match="is too long: expected at most"):
        source_format.read_tasks(opening + " " * LONGEST)
    for deep in ("<task>" * 100_000, "[" * 100_000, '{"id":' * 100_000):
        assert refused(opening + deep)
    many = "<task>" if form == "xml" else "{},"
    assert refused(opening + many * 100_000)


@pytest.mark.parametrize(
    "number", ["1" + "0" * 4000, "1." + "0" * 5000, "0." + "0" * 5000 + "1", "1" + "0" * 50 + "e-50", "1e400", "-0.0"]
)
def test_a_number_of_any_length_is_taken_just_where_the_schemas_take_it(number: str) -> None:
    fields = f'"id": "a", "title": "t", "duration": {number}'
    for text in (f'{{"version": 1, "tasks": [{{{fields}}}]}}', one(f"<duration>{number}</duration>")):
        assert bool(refused(text)) == bool(schema(documents.format_of(text))(text)), refused(text)


@pytest.mark.parametrize("number", ["3", "-" + "0" * 5000 + "3", "+03", "0" * 30, "9" * 30, "9" * 5000, "", "-", "0x1"])
def test_a_whole_number_of_any_length_is_taken_just_where_the_schema_takes_it(number: str) -> None:
    details = "<details><id>a</id><title>t</title><duration>1</duration></details>"
    result = f"<result><outcome>failed</outcome><seconds>1</seconds><exitCode>{number}</exitCode></result>"
    text = f"<answer {XMLNS}>{details}{result}</answer>"
    assert bool(refused(text, True)) == bool(schema("xml")(text)), refused(text, True)


def test_no_number_costs_more_than_its_length() -> None:
    for number in ("9" * 3_000_000, "0." + "9" * 3_000_000):
        refused(f'{{"version": 1, "tasks": [{{"id": "a", "title": "t", "duration": {number}}}]}}')
        refused(one(f"<duration>{number}</duration>"))
        refused(f"<answer {XMLNS}><result><exitCode>{number}</exitCode></result></answer>", True)


def test_nothing_goes_deeper_than_it_may() -> None:
    """The shapes are not as deep; so the limits hold by themselves, and are looked at with a shape that is."""
    from memorymapped.tasks.shapes import Document, Many, Text

    shape: Many | Text = Text(1)
    for _ in range(DEEPEST + 2):
        shape = Many("a", shape, 1)
    document = Document("deep", shape)
    levels = DEEPEST + 1
    for text in (
        f"<deep {XMLNS}>" + "<a>" * levels + "</a>" * levels + "</deep>",
        '{"version": 1, "deep": ' + "[" * levels + "]" * levels + "}",
    ):
        with pytest.raises(DocumentError, match=f"more than {DEEPEST} .* inside each other"):
            documents.read(document, text)


def test_more_than_there_may_be_is_refused() -> None:
    parameters = "".join(f'<parameter name="n{i}"/>' for i in range(101))
    assert "more than 100 of parameter" in refused(one(f"<duration>1</duration><parameters>{parameters}</parameters>"))
    pairs = json.dumps({f"n{i}": "" for i in range(101)})
    text = f'{{"version": 1, "tasks": [{{"id": "a", "title": "t", "duration": 1, "parameters": {pairs}}}]}}'
    assert "more than 100 of parameter" in refused(text)
    with pytest.raises(DocumentError, match=r"the document has .* characters"):
        source_format.write_tasks(
            [Task("t", parameters={f"n{i}": "x" * 10_000 for i in range(100)}) for _ in range(5)], "json"
        )


def test_what_other_writers_do_is_read() -> None:
    """A mark, UTF-16 in the declaration, comments, CDATA, a prefix, hints of schemas; any order and space in JSON."""
    xml = (
        '\ufeff<?xml version="1.0" encoding="utf-16"?><!-- by hand -->'
        '<t:tasks xmlns:t="urn:memorymapped:tasks" version="1"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:memorymapped:tasks tasks.xsd">'
        "<t:task><t:duration> 1.5\n</t:duration><t:title><![CDATA[<t>]]> x</t:title>"
        "<!-- 1 --><t:id>a</t:id></t:task></t:tasks>"
    )
    json_text = (
        '\ufeff{"$schema":"tasks.schema.json",'
        '"tasks":[ {"title":"<t> \\u0078","duration":15e-1,\r\n"id":"a"} ],"version":1}'
    )
    for text in (xml, json_text):
        assert source_format.read_tasks(text) == [Task("<t> x", duration=1.5, id="a")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_are_utf_8_or_utf_16(encoding: str) -> None:
    text = source_format.write_tasks([Task("Prüfen €", id="a")])
    assert source_format.read_tasks(documents.characters(text.encode(encoding)))[0].title == "Prüfen €"


def test_other_bytes_are_refused() -> None:
    with pytest.raises(DocumentError, match=r"byte 2 \(line 2\) is no UTF-8"):
        documents.characters(b"a\n\xff")
