# SPDX-License-Identifier: MIT
"""The screens of `mmf tasks` and `mmf tasks-worker`, drawn with Textual: imported by a command that is about to draw
one, by nothing else. What they decide is in the modules beside this package.

    form      a task, to be filled in; each field says what is wrong with it
    jobs      a run of a destination, as the screen of the source tells of it
    panels    how that looks
    source, destination    the two screens"""
