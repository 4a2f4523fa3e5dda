# SPDX-License-Identifier: MIT
"""The task programs of "Inter-Process Communication using memory-mapped files in .NET".

A source hands tasks to a destination, another process, in a segment file with a unique name: the tasks are segment 0,
the answer is segment 1, both XML or JSON. Nothing of the library needs this package.

    shapes             what a document looks like; errors with a place
    xml_documents, json_documents    text to plain values and back, by such a shape; what is read is not trusted
    documents          either of the two

    model, store       the source's tasks, and where they are kept
    source_format      the source's documents
    source             starts destinations, and hears of their answers and ends

    destination_format, destination, commands    the other side: of the above it uses only shapes and documents

    elsewhere          a destination in another terminal
    screens            what both draw, with Textual

    processes          how both wait for the end of a process

`docs/tasks.md` has the exchange as a picture, and the schemas."""
