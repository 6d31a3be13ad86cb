"""Guesses and results as values: which are accepted, how they are kept, how they are shown."""

import ast
import numbers
import reprlib
from typing import Any

_LARGE = 9999.5  # From here on, four digits would need an exponent.


def plain(value: Any) -> Any:
    """Return a guess or result in Python's own types.

    Args:
        value: a number, text, truth value, or a tuple, list or dict of these; NumPy's too.

    Raises:
        ValueError: if it is anything else.
    """
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):  # np.float64 is a float.
        return plain(value.tolist())
    if isinstance(value, bool | int | float | complex | str):
        return value
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, numbers.Real):
        return float(value)
    raise ValueError(
        "Expected a number, a text, True or False, or a tuple, list or dict of these. "
        f"Received: {reprlib.repr(value)}"
    )


def shown(value: Any) -> str:
    """Return a plain value as a reader would write it: 14,528, 0.1235, (16, 16, 32)."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float) and abs(value) < 1e15:
        return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:,.4g}"
    return _inside(value)


def _inside(value):
    """Return a value as it stands in a tuple, where a comma would part two numbers."""
    if isinstance(value, float):
        return f"{value:.0f}" if _LARGE <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, tuple) and len(value) == 1:
        return f"({_inside(value[0])},)"
    if isinstance(value, tuple):
        return f"({', '.join(map(_inside, value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(_inside, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_inside(key)}: {_inside(each)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def written(value: Any) -> str:
    """Return a plain value as the text in which it is kept; JSON would make a tuple a list."""
    return repr(value)


def kept_shown(entry: dict) -> str:
    """Return a kept guess as a reader would write it."""
    text = entry.get("guess")
    try:
        return shown(ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return f"{text}"  # Such as inf, or what a later version keeps.
