"""The notebooks' exercises: check an answer, print a hint.

>>> from resnet_lib import exercises
>>> exercises.check("01-gradient", ...)
not done yet: replace `...` by your answer. A hint: rl.exercises.hint("01-gradient")

The solutions stand in the notebooks, folded.
"""

import difflib

from . import notebook01, notebook02, notebook03, notebook04, notebook05, notebook06
from .core import told, verdict

_NOTEBOOKS = (notebook01, notebook02, notebook03, notebook04, notebook05, notebook06)
_EXERCISES = {name: each for module in _NOTEBOOKS for name, each in module.EXERCISES.items()}

__all__ = ["check", "hint", "names"]


def check(name: str, answer: object) -> None:
    """Judge an answer and print the verdict; no answer raises an error.

    Prints a line that begins with "not done yet", "look again" (and says what the answer would
    mean), or "correct". Python's and NumPy's global random states stay as they were.

    Args:
        name: name of an exercise, such as "01-residual".
        answer: the answer: a function, a number, a tuple, as the exercise says.

    Raises:
        ValueError: if no exercise has this name.
    """
    print(verdict(_find(name), name, answer))


def hint(name: str) -> None:
    """Print the hint of an exercise.

    Args:
        name: name of an exercise, such as "01-residual".

    Raises:
        ValueError: if no exercise has this name.
    """
    print(told("hint", _find(name).hints[0]))


def names() -> tuple[str, ...]:
    """Return the exercises' names, in the order of the notebooks: tuple of str."""
    return tuple(_EXERCISES)


def _find(name):
    if isinstance(name, str) and name in _EXERCISES:
        return _EXERCISES[name]
    near = difflib.get_close_matches(str(name), _EXERCISES, n=3, cutoff=0.5) or names()
    raise ValueError(
        f"Expected the name of an exercise, the nearest: {', '.join(map(repr, near))}. "
        f"Received: {name!r}"
    )
