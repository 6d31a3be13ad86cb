"""What all exercises share: how an answer is read, judged and spoken of."""

import ctypes
import itertools
import math
import numbers
import random
import re
import reprlib
import textwrap
import threading
import time
import types
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

try:
    from keras.src.backend.common.global_state import GLOBAL_STATE_TRACKER
except ImportError:  # Keras has no public way to it, and may move it.
    GLOBAL_STATE_TRACKER = threading.local()

WIDTH = 88
SECONDS = 20
NOTHING_RETURNED = "your function returns nothing. Write its body, up to `return`."


@dataclass(frozen=True)
class Exercise:
    """An exercise.

    Attributes:
        judge: function of the answer; raises NotDone or Wrong. If the answer is right, it returns
            nothing, or a sentence for what is right in a way of its own: "a variant: …".
        level: "easy", "medium" or "hard".
        minutes: how long it takes somebody who meets the matter for the first time.
        hints: one to three, each further than the one before.
        why: one sentence, printed after "correct": why the answer matters.
        stand_in: for an exercise whose answer is a function: the library's, which later cells use
            as long as the reader has none.
        seconds: how long the answer may compute while it is judged, more than the usual for a
            project that is trained.
    """

    judge: Callable
    level: str
    minutes: int
    hints: tuple[str, ...]
    why: str
    stand_in: Callable | None = None
    seconds: float | None = None


class NotDone(Exception):  # noqa: N818 - no error, a verdict
    """The answer is still the stub's; the message says what to do."""


class Wrong(Exception):  # noqa: N818 - no error, a verdict
    """The answer is wrong; the message names the misconception."""


class Raised(Wrong):
    """The reader's function raised an error; the message repeats it."""


class TookTooLong(BaseException):
    """The time is over. No Exception, so that the reader's `except Exception` lets it pass."""


def verdict(exercise, name, answer):
    """Return what is to be printed about an answer; never raise, but KeyboardInterrupt."""
    try:
        if is_undone(answer):
            raise NotDone("replace `...` by your answer.")
        with undisturbed():
            note = within(exercise.seconds or SECONDS, exercise.judge, answer)
    except NotDone as reason:
        return told("not done yet", f'{reason} A hint: rl.exercises.hint("{name}")')
    except Wrong as reason:
        return told("look again", f"{reason}")
    # Whatever a strange answer does, its reader needs a sentence.
    except (Exception, SystemExit) as error:
        return told("look again", f"{described(answer)} cannot be judged: {error_told(error)}")
    return told("correct", f"{note} Why it matters: {exercise.why}" if note else exercise.why)


def told(label, text):
    """Return `label: text`, broken into lines."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(f"{label}: {text}", WIDTH, **options)


def is_undone(answer):
    """Say whether an answer, or a part of it, is still the stub's `...`."""
    parts = answer if isinstance(answer, tuple | list) else [answer]
    return answer is None or any(part is ... for part in parts)


def within(seconds, function, *args):
    """Return what a function returns, or raise Wrong if that takes more than so many seconds.

    The seconds are those that this thread computes, so that nobody is told so because another
    program has the processor; waiting counts a fifth. Whatever runs in Python is stopped, in any
    thread; one long operation of a library, at its end.
    """
    finished = threading.Event()
    alarm = threading.Thread(
        target=_interrupt, args=(threading.get_ident(), finished, seconds), daemon=True
    )
    try:
        alarm.start()
        return function(*args)
    except TookTooLong:
        raise Wrong(
            f"your answer took longer than {seconds:g} s, and was stopped. Does every loop in it "
            "come to an end?"
        ) from None
    finally:
        for _ in range(2):  # The alarm may go off in these very lines, once.
            try:
                finished.set()
                alarm.join()
                _raise_in(threading.get_ident(), None)
                break
            except TookTooLong:
                continue


def _interrupt(thread, finished, seconds):
    """Raise TookTooLong in a thread, again and again, unless it is finished in time."""
    used = _stopwatch(thread)
    while used() < seconds:
        if finished.wait(max(seconds - used(), 0.01)):
            return
    while not finished.is_set():
        _raise_in(thread, ctypes.py_object(TookTooLong))
        finished.wait(1)  # Then again: an exception in a destructor, for one, is lost.


def _stopwatch(thread):
    """Return a function that says how many seconds a thread has used since now."""
    clocks = [(time.monotonic, 1)]
    if hasattr(time, "pthread_getcpuclockid"):  # Not on Windows.
        clock = time.pthread_getcpuclockid(thread)
        clocks = [(lambda: time.clock_gettime(clock), 1), (time.monotonic, 5)]
    start = [now() for now, _ in clocks]
    return lambda: max(
        (now() - begun) / slower for (now, slower), begun in zip(clocks, start, strict=True)
    )


def _raise_in(thread, error):
    """Have an exception raised in a thread; None takes back what has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


@contextmanager
def undisturbed():
    """Judge with Keras' own settings and seeded generators; give back what the reader has set."""
    kept = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        with _settings_of_keras(), _state_of_keras():
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


@contextmanager
def _settings_of_keras():
    kept = keras.config.floatx(), keras.config.image_data_format()
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_floatx(kept[0])
        keras.config.set_image_data_format(kept[1])


@contextmanager
def _state_of_keras():
    """With a new state of Keras: no policy, layers named from the beginning, other generators.

    What is stopped half-way leaves a state that no other layer should meet.
    """
    state = vars(GLOBAL_STATE_TRACKER)  # Of this thread.
    kept = dict(state)
    state.clear()
    try:
        yield
    finally:
        state.clear()
        state.update(kept)


# Speaking of answers


def described(value):
    """Return a short text for a value, the same in every process."""
    if isinstance(value, types.FunctionType | type):
        return f"the {type(value).__name__} {value.__name__}"
    return _Short().repr(value)


class _Short(reprlib.Repr):
    """A short repr that never runs code of the reader's, nor shows an address."""

    def repr_instance(self, x, level):
        """Name the class of all but numbers, True, False and None."""
        plain = type(x) in (float, bool, type(None)) or isinstance(x, np.number | np.bool_)
        return repr(x) if plain else f"<{type(x).__name__}>"


def error_told(error):
    """Return an exception's class and message, shortened, without addresses and colours."""
    message = " ".join(str(error).split("Arguments received by")[0].split())
    message = re.sub(r"\x1b\[[\d;]*m| at 0x[0-9a-fA-F]+|, name=keras_tensor\w*", "", message)
    message = textwrap.shorten(message, 240, placeholder=" ...")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


# Reading answers


def call(function, *args, **options):
    """Call the reader's function and return what it returns.

    Raises:
        Wrong: if `function` is none, or if it raises an error.
        NotDone: if it returns nothing.
    """
    if not callable(function):
        raise Wrong(
            f"received {described(function)}, where a function is expected. Hand over the "
            "function itself: its name without parentheses."
        )
    result = guarded(function, *args, **options)
    if is_undone(result):
        raise NotDone(NOTHING_RETURNED)
    return result


def guarded(function, *args, **options):
    """Call a function that the reader wrote, or that runs what the reader wrote."""
    try:
        return function(*args, **options)
    except (Exception, SystemExit) as error:
        raise Raised(f"your function raised {error_told(error)}") from error


def array(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return what a reader's function returned as floats of a shape; raise Wrong if it is none."""
    if keras.ops.is_tensor(value) and not isinstance(value, keras.KerasTensor):
        value = keras.ops.convert_to_numpy(value)
    try:
        found = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise Wrong(f"your function returned {described(value)}. Expected: {what}.") from None
    if found.shape != shape:
        seen = f"an array of shape {found.shape}" if found.ndim else described(value)
        raise Wrong(f"your function returned {seen}. Expected: {what}, of shape {shape}.")
    return found


def is_number(value):
    """Say whether a value is a real number and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def plain(value):
    """Return an array or tensor of one axis or none as Python's numbers, all else as it is."""
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    is_array = isinstance(value, np.ndarray) or keras.ops.is_tensor(value)
    if not is_array or isinstance(value, keras.KerasTensor) or len(value.shape) > 1:
        return value
    return keras.ops.convert_to_numpy(value).tolist()


def expect_number(answer):
    """Raise Wrong unless an answer is a number."""
    if not is_number(answer):
        raise Wrong(f"received {described(answer)}, where one number is expected.")


def expect_numbers(answer, what):
    """Raise Wrong unless an answer is a tuple or list of numbers, as many as `what` has words."""
    right_kind = isinstance(answer, tuple | list) and all(is_number(part) for part in answer)
    if not right_kind or len(answer) != len(what):
        raise Wrong(f"received {described(answer)}. Expected numbers: ({', '.join(what)}).")


def without_batch(answer):
    """Return a shape without its first part, if there are four and that is None, as in Keras."""
    if not isinstance(answer, tuple | list) or len(answer) != 4:
        return answer
    if answer[0] is not None:
        raise Wrong(
            f"received {described(answer)}. Asked for are three numbers, (height, width, "
            "channels). Keras shows a fourth in front, the pictures in a batch: None, for there "
            "may be any number of them."
        )
    return answer[1:]


def close(one, other):
    """Say whether two numbers are equal but for rounding."""
    try:
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    except OverflowError:  # An int beyond the range of floats.
        return one == other


def judge_number(answer, right, wrong, otherwise):
    """Judge a number.

    Args:
        answer: the answer.
        right: the right number.
        wrong: dict, wrong number -> what it would mean.
        otherwise: what to say of any other number.

    Raises:
        Wrong: if the answer is not `right`.
    """
    answer = plain(answer)
    expect_number(answer)
    if not close(answer, right):
        meanings = [text for number, text in wrong.items() if close(answer, number)]
        raise Wrong(f"received {described(answer)}. {(meanings or [otherwise])[0]}")


def judge_numbers(answer, what, right, wrong, otherwise):
    """Judge a tuple of numbers, one after another, with the arguments of `judge_number` as tuples.

    Args:
        answer: the answer.
        what: a word for each number.
        right: the right numbers.
        wrong: a dict for each number.
        otherwise: a text for each number.

    Raises:
        Wrong: for the first number that is not right.
    """
    answer = plain(answer)
    expect_numbers(answer, what)
    for word, *arguments in zip(what, answer, right, wrong, otherwise, strict=True):
        try:
            judge_number(*arguments)
        except Wrong as reason:
            raise Wrong(f"{word}: {reason}") from None


def numbers_meant(count, mistakes):
    """Return what wrong numbers mean: of one mistake, and of any two together.

    Args:
        count: function of the parts, all with the right values as defaults; returns the number.
        mistakes: list of (what the number does, why that is wrong, dict of wrong parts), such as
            ("forgets the skip", "The skip is a path, too.", {"skip": 0}).

    Returns:
        Dict, number -> text. Where more than one mistake leads to a number, its text says so.
    """
    ways = {}
    for chosen in [*itertools.combinations(mistakes, 1), *itertools.combinations(mistakes, 2)]:
        wrong = {part: value for *_, changed in chosen for part, value in changed.items()}
        number = count(**wrong)
        others = [count(), *(count(**changed) for *_, changed in chosen[:-1] + chosen[1:])]
        separate = len(wrong) == sum(len(changed) for *_, changed in chosen)
        if separate and not any(close(number, other) for other in others):
            ways.setdefault(number, {}).setdefault(tuple(sorted(wrong.items())), chosen)
    return {number: _meaning(list(chosen.values())) for number, chosen in ways.items()}


def _meaning(ways):
    """Return a text for the mistakes that lead to one number; why each is one, if it is clear."""
    does = [" and ".join(what for what, *_ in way) for way in ways]
    if len(ways) > 1:
        return f"That {', or it '.join(does)}: the number is the same. Look at each part."
    return " ".join([f"That {does[0]}.", *dict.fromkeys(reason for _, reason, _ in ways[0])])
