"""Which tasks there are, and a table of what is done. Nothing here imports Keras.

An exercise stands with its judge, and the judges import Keras, which takes seconds. So what a list
needs, names, levels and minutes, is read from their source.
"""

import ast
import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from . import kept, values
from .predictions import PREDICTIONS


class Task(NamedTuple):
    """An exercise as a list shows it: its level, and the minutes that it takes."""

    level: str
    minutes: int


@functools.cache
def exercises() -> Mapping[str, Task]:
    """Return {name: Task} of all exercises, in the order of the notebooks."""
    files = sorted(Path(__file__).parent.glob("notebook*.py"))
    return MappingProxyType({name: task for file in files for name, task in _tasks(file)})


def _tasks(file):
    """Yield name and Task of each `"name": Exercise(…, level=…, minutes=…)` in a module."""
    (table,) = (
        node.value
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXERCISES"
    )
    for name, call in zip(table.keys, table.values, strict=True):
        given = {word.arg: word.value for word in call.keywords if word.arg in Task._fields}
        yield ast.literal_eval(name), Task(**{k: ast.literal_eval(v) for k, v in given.items()})


def table() -> str:
    """Return the table of all tasks: name, kind, what is done, and below it what is left."""
    done, guessed = kept.entries(kept.EXERCISES), kept.entries(kept.PREDICTIONS)
    lines = [line for number in _notebooks() for line in _notebook(number, done, guessed)]
    return "\n".join([*lines, *_totals(done, guessed), _where()])


def _notebooks():
    return sorted({name.split("-")[0] for name in (*exercises(), *PREDICTIONS)})


def _notebook(number, done, guessed):
    yield f"notebook {number}"
    for name, task in exercises().items():
        if name.startswith(f"{number}-"):
            kind = f"{task.level:<10} {task.minutes:>3} min"
            yield f"  {name:<24} {kind:<19} {_state(done.get(name))}"
    for name in PREDICTIONS:
        if name.startswith(f"{number}-"):
            entry = guessed.get(name)
            state = "–" if entry is None else f"predicted: {_guess_shown(entry)}"
            yield f"  {name:<24} {'prediction':<19} {state}"
    yield ""


def _guess_shown(entry):
    """Return a kept guess and, if it has been compared, the result."""
    found = entry.get("result")
    results = found.items() if isinstance(found, dict) else ()
    told = [f"{word}: {values.kept_shown({'guess': text})}" for word, text in results]
    return "; ".join([values.kept_shown(entry), *told])


def _state(entry):
    state = (entry or {}).get("state")
    return state if state in ("tried", "right") else "–"


def _totals(done, guessed):
    states = {name: _state(done.get(name)) for name in exercises()}
    minutes = sum(t.minutes for name, t in exercises().items() if states[name] != "right")
    right, tried = (list(states.values()).count(state) for state in ("right", "tried"))
    yield f"exercises: {right} of {len(states)} right, {tried} tried; {minutes} minutes are left"
    yield f"predictions: {sum(name in guessed for name in PREDICTIONS)} of {len(PREDICTIONS)} made"


def _where():
    try:
        path = kept.place()
    except ValueError as error:
        return f"nothing is kept: {error}"
    return "nothing is kept: RESNET_LIB_PROGRESS is off" if path is None else f"kept in {path}"
