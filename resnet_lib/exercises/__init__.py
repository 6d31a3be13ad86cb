"""The notebooks' tasks: check an answer, print a hint, keep a prediction, see what is done.

>>> from resnet_lib import exercises
>>> exercises.check("01-gradient", ...)
not done yet: replace `...` by your answer. A hint: rl.exercises.hint("01-gradient")
>>> exercises.predict("02-identity-parameters", 5000)
you predict: 5,000
>>> exercises.compare("02-identity-parameters", counted=4672)
you: 5,000; counted: 4,672

Answers and predictions are kept in the reader's own file, see `resnet_lib.exercises.kept`. The
solutions stand in the notebooks, folded.
"""

import difflib
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from . import kept, sources, tasks, values
from .predictions import PREDICTIONS

__all__ = ["answer", "check", "compare", "hint", "names", "predict", "progress", "recall"]

# Of this process, whether or not a file is kept.
_right: dict[str, Any] = {}
_wrong_since: set[str] = set()
_guesses: dict[str, dict] = {}
_hints_given: dict[str, int] = {}
_recalled: set[str] = set()


def check(name: str, answer: object) -> None:
    """Judge an answer and print the verdict; no answer raises an error.

    Prints a line that begins with "not done yet", "look again" (and says what the answer would
    mean), or "correct". A right answer is kept. Python's and NumPy's global random states stay as
    they were.

    Args:
        name: name of an exercise, such as "01-residual".
        answer: the answer: a function, a number, a tuple, as the exercise says.

    Raises:
        ValueError: if no exercise has this name.
    """
    from .core import verdict

    exercise = _exercise(name)
    said = verdict(exercise, name, answer)
    print(said)
    if said.startswith("correct"):
        _right[name] = answer
        _wrong_since.discard(name)
        right = {"state": "right", "when": kept.today(), **_answer_kept(answer)}
        kept.update(kept.EXERCISES, name, lambda before: _without_answer(before) | right)
    elif said.startswith("look again"):
        _wrong_since.add(name)
        tried = {"state": "tried", "when": kept.today()}
        kept.update(kept.EXERCISES, name, lambda before: tried | before)


def _answer_kept(answer):
    """Return what is kept of a right answer: the lines of its source, or its value as text."""
    if callable(answer):
        name, code = sources.runnable(answer) or (None, "")
        return {"source": code.splitlines(), "name": name} if name else {}
    try:
        return {"value": values.written(values.plain(answer))}
    except ValueError:
        return {}


def _without_answer(entry):
    return {key: value for key, value in entry.items() if key not in ("source", "name", "value")}


def hint(name: str, number: int | None = None) -> None:
    """Print a hint of an exercise; each call without `number` goes one further.

    Args:
        name: name of an exercise, such as "01-residual".
        number: which hint, from 1.

    Raises:
        ValueError: if no exercise has this name, or if it has no such hint.
    """
    from ..checks import count
    from .core import told

    hints = _exercise(name).hints
    if number is None:
        number = _hints_given.get(name, 0) + 1
    else:
        number = count("number", number, most=len(hints))
    given = min(number, len(hints))
    _hints_given[name] = given
    again = ", there is no further one" if number > given else ""
    print(told(f"hint {given} of {len(hints)}{again}", hints[given - 1]))


def names() -> tuple[str, ...]:
    """Return the exercises' names, in the order of the notebooks: tuple of str."""
    return tuple(tasks.exercises())


def answer(name: str) -> Callable:
    """Return the reader's function, or the library's, and print which.

    Args:
        name: name of an exercise whose answer is a function, such as "02-identity-block".

    Returns:
        The last function that `check` has found correct in this process; if there is none, the
        library's, so that the cells that need one run.

    Raises:
        ValueError: if no exercise has this name, or if its answer is no function.
    """
    stand_in = _stand_in(name)
    if name in _right:
        last = ", the last that was right" if name in _wrong_since else ""
        print(f"{name}: your function{last}")
        return _right[name]
    print(
        f'{name}: not solved yet, the library\'s function stands in (rl.exercises.hint("{name}"))'
    )
    return stand_in


def recall(name: str) -> None:
    """Show the reader's kept right answer in a new cell, to run or to change.

    The cell checks the answer, after which `answer` returns it here as well. Where the notebook, as
    it was last saved, has such a cell already, no other is made. Outside a notebook the code is
    printed. Without a kept answer the library's function is shown.

    Args:
        name: name of an exercise whose answer is a function, such as "02-identity-block".

    Raises:
        ValueError: if no exercise has this name, or if its answer is no function.
    """
    stand_in = _stand_in(name)
    code = _kept_code(name)
    if code is None:
        print(f"{name}: no answer of yours is kept. The library's function:\n")
        print(sources.defined(stand_in))
    elif (shell := _shell()) is None:
        print(code)
    elif name in _recalled or _stands_in_notebook(name):
        print(f"{name}: your function stands in a cell already, to run or to change")
    else:
        _recalled.add(name)
        shell.set_next_input(code)
        print(f"{name}: your function stands in the next cell, to run or to change")


def _kept_code(name):
    """Return the code of a kept answer, its check below it; None if there is none."""
    entry = kept.entries(kept.EXERCISES).get(name, {})
    lines, function = entry.get("source"), entry.get("name")
    if not isinstance(lines, list) or not isinstance(function, str) or not function.isidentifier():
        return None
    head = f"{_head(name)} {entry.get('when')}."
    return "\n".join([head, *map(str, lines), "", f'rl.exercises.check("{name}", {function})'])


def _head(name):
    return f"# Your answer to {name}, kept on"


def _stands_in_notebook(name):
    """Say whether the notebook of this kernel, as it was last saved, has a cell of `recall`.

    A kernel that has been restarted knows nothing of the cells that it has made before. Jupyter
    tells it in JPY_SESSION_NAME where its notebook is.
    """
    try:
        notebook = Path(os.environ.get("JPY_SESSION_NAME", "")).read_text(encoding="utf-8")
        sources = ["".join(each["source"]) for each in json.loads(notebook)["cells"]]
    except (OSError, ValueError, KeyError, TypeError):  # No notebook, or none that can be read.
        return False
    return any(source.startswith(_head(name)) for source in sources)


def _shell():
    """Return the IPython of this process, None if there is none."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def predict(name: str, guess: object) -> None:
    """Keep a guess, for `compare` to set beside the result.

    Args:
        name: name of a prediction, such as "02-identity-parameters".
        guess: a number, text, True or False, or a tuple, list or dict of these; `...` for none.

    Raises:
        ValueError: if no prediction has this name, or if the guess is anything else.
    """
    _known("prediction", name, PREDICTIONS)
    parts = guess if isinstance(guess, tuple | list) else [guess]
    if guess is None or any(part is ... for part in parts):
        before = _guess(name)
        stays = f". Your earlier guess stays: {values.kept_shown(before)}" if before else ""
        print(f"no prediction yet: replace `...` by your guess and run this cell again{stays}")
        return
    guess = values.plain(guess)
    entry = {"guess": values.written(guess), "when": kept.today()}
    _guesses[name] = entry
    kept.update(kept.PREDICTIONS, name, lambda before: before | entry)
    print(f"you predict: {values.shown(guess)}")


def compare(name: str, **result: object) -> None:
    """Print the reader's guess beside the result: "you: 5,000; counted: 4,672".

    Args:
        name: name of a prediction, such as "02-identity-parameters".
        **result: what was found, under a word for it: `counted=4672`; "_" stands for a blank.

    Raises:
        ValueError: if no prediction has this name, if there is no result, or if it is of a type
            that `predict` would not take.
    """
    _known("prediction", name, PREDICTIONS)
    if not result:
        raise ValueError("Expected a result, such as counted=4672. Received: none")
    found = {word: values.plain(value) for word, value in result.items()}
    entry = _guess(name)
    you = "no prediction" if entry is None else values.kept_shown(entry)
    told = ", ".join(
        f"{word.replace('_', ' ')}: {values.shown(value)}" for word, value in found.items()
    )
    print(f"you: {you}; {told}")
    if entry is not None:
        written = {word: values.written(value) for word, value in found.items()}
        kept.update(kept.PREDICTIONS, name, lambda before: entry | before | {"result": written})


def _guess(name):
    """Return what is kept of a guess; None if there is none."""
    return _guesses.get(name) or kept.entries(kept.PREDICTIONS).get(name)


def progress() -> None:
    """Print all tasks: notebook, level, minutes, what is done, and what is left."""
    print(tasks.table())


def _exercise(name):
    """Return an exercise; the judges' modules import Keras, which a list of tasks need not."""
    _known("exercise", name, tasks.exercises())
    return import_module(f".notebook{name[:2]}", __name__).EXERCISES[name]


def _stand_in(name):
    stand_in = _exercise(name).stand_in
    if stand_in is None:
        raise ValueError(
            f"Expected the name of an exercise whose answer is a function. Received: {name!r}"
        )
    return stand_in


def _known(kind, name, known):
    if isinstance(name, str) and name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5) or known
    article = "an" if kind == "exercise" else "a"
    raise ValueError(
        f"Expected the name of {article} {kind}, the nearest: {', '.join(map(repr, near))}. "
        f"Received: {name!r}"
    )
