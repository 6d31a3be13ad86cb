"""The answers of tasks00.py to tasks10.py, and which of them take long to judge."""

import importlib

import pytest

NUMBERS = range(11)
MODULES = [importlib.import_module(f"tasks{number:02}") for number in NUMBERS]
# Each module holds, of the exercises of its notebook:
# RIGHT: {name: [right answer, another right one in another form, …]}
# WRONG: {name: [(wrong answer, words of its diagnosis), …]}
# STUBS: {name: what the untouched stub hands to the check}, where that is not `...`
# SLOW: names whose answers, taken together, need more than five seconds to judge
RIGHT = {name: answers for module in MODULES for name, answers in module.RIGHT.items()}
WRONG = {name: answers for module in MODULES for name, answers in module.WRONG.items()}
STUBS = {name: answer for module in MODULES for name, answer in module.STUBS.items()}
SLOW = {name for module in MODULES for name in module.SLOW}


def slow_marked(names):
    """Return a parameter for each name, those of SLOW marked `slow`."""
    return [pytest.param(name, marks=marks(name), id=name) for name in names]


def marks(name):
    """Return the marks of a test that judges an answer to an exercise."""
    return [pytest.mark.slow] * (name in SLOW)
