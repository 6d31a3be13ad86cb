"""Answers that are networks, made when they are judged: each takes a while to build."""

from functools import partial, wraps


class Later(partial):
    """A function with its arguments, to be called when what it returns is needed."""


def later(function):
    """Make a function return a `Later` in place of its value."""
    return wraps(function)(partial(Later, function))
