"""The exercises of notebook 06, train for real."""

from functools import partial

import keras
import numpy as np
from keras import ops

from .. import training
from . import probes, watching
from .core import (
    NOTHING_RETURNED,
    Exercise,
    NotDone,
    Raised,
    Wrong,
    call,
    described,
    error_told,
    expect_numbers,
    is_number,
    judge_numbers,
    plain,
)
from .recipeprobes import IMAGES, judge_recipe

# Rates, as parts of the peak, and probabilities are compared after they are multiplied by this: so
# `probes.TOLERANCE` lets half precision pass, and no mistake.
SCALE = 20

# 06-steps: (steps of an epoch, epochs, epoch of the first division) of the paper's run

_WHAT = ("steps of an epoch", "epochs", "first division")
_DROPPED = (
    "That counts full batches only. The last batch of an epoch is smaller, and a step like the "
    "others."
)
_UNEVEN = (
    "That comes out with 351 steps an epoch, or with 351.56. The last, smaller batch is a whole "
    "step: with 352 of them the run is through earlier."
)
_ALL_PICTURES = "That takes an epoch of 50,000 pictures. On how many of them does this run train?"
_KEPT_APART = "That is an epoch of the 5,000 pictures that are not trained on."
_NOT_THE_END = "So many epochs do not reach the end. How many steps has the whole run?"
_BY_BATCH = "That divides steps by pictures: 128 is the size of a batch, not of an epoch."
_THE_END = "That is the end of the run. When is the rate divided for the first time?"
_SECOND = "By then the rate is divided for the second time."
_STEPS = {
    351: _DROPPED,
    390: f"{_ALL_PICTURES} (And the last batch, which is smaller, is left out.)",
    391: _ALL_PICTURES,
    39: _KEPT_APART,
    40: _KEPT_APART,
    128: "That is the number of pictures in a batch. How many batches are in an epoch?",
    250: _BY_BATCH,
    375: _BY_BATCH,
    500: _BY_BATCH,
    45_000: "That counts pictures. A step takes 128 of them.",
    50_000: "That counts pictures. A step takes 128 of them.",
    64_000: "That is the whole run.",
}
_EPOCHS = {
    181: "So many epochs end before the last step: some steps are missing, and they need an epoch.",
    183: _UNEVEN,
    163: _ALL_PICTURES,
    164: _ALL_PICTURES,
    165: _ALL_PICTURES,
    90: _NOT_THE_END,
    91: _NOT_THE_END,
    136: _NOT_THE_END,
    137: _NOT_THE_END,
    200: "That is the widely copied example's run. The paper counts steps.",
    500: _BY_BATCH,
}
_FIRST = {
    90: "So many epochs are over before that step, or: that counts from 0. Which one is under way, "
    "counted from 1?",
    92: _UNEVEN,
    81: _ALL_PICTURES,
    82: _ALL_PICTURES,
    83: _ALL_PICTURES,
    136: _SECOND,
    137: _SECOND,
    181: _THE_END,
    182: _THE_END,
    250: _BY_BATCH,
    32_000: "That is the step. In which epoch is it?",
}
_PARTS = (
    "What is left after the full batches is a batch, too, only smaller.",
    "An epoch in which the run ends is one that the run needs.",
    "In which epoch is that step? An epoch that has begun counts.",
)


def judge_steps(answer):
    """Judge (steps of an epoch, epochs, epoch of the first division) of the paper's run."""
    otherwise = (
        "How many batches do the pictures make that are trained on, the last, smaller one "
        "included?",
        "How many steps have so many epochs, and how many have they with one epoch less? The "
        "64,000th must be in the last one.",
        "Which steps are in that epoch? The one after the 32,000th should be among them.",
    )
    answer = plain(answer)
    expect_numbers(answer, _WHAT)
    wrong = (_STEPS, _EPOCHS, _FIRST)
    parts = zip(_WHAT, answer, _PARTS, (352, 182, 91), wrong, otherwise, strict=True)
    for word, number, meaning, *judged in parts:
        if number % 1 != 0:
            raise Wrong(f"{word}: received {described(number)}, no whole number. {meaning}")
        judge_numbers((number,), (word,), *([each] for each in judged))


# 06-rate: a line up, half a cosine down
#
# A schedule is written as two words, what it does in the first tenth and what afterwards: `line
# cosine`. A word is a shape, a function of the time t, and its clock, which says what t is:
# `line:run`. Without a clock, t goes from 0 to 1 in the first tenth, and again in what is left.

PEAK, RATE = 0.2, "line cosine"
_RUNS, _FORTIETHS = (120, 840, 64_000, 1000.0), (0, 1, 2, 3, 4, 8, 15, 22, 31, 40)
PROBES = [(run // 40 * part, run) for run in _RUNS for part in _FORTIETHS]
_STEP, _RUN = np.array(PROBES).T
_WARM_UP = _RUN / 10
_RISING = _STEP < _WARM_UP
_ZERO = SCALE / PEAK * 5e-7  # A rate of 1e-6 is a floor that somebody wrote; rounding is less.
_CLOCKS = {
    "tenth": _STEP / _WARM_UP,
    "tenth-from-1": (_STEP + 1) / _WARM_UP,
    "tenth-whole": _STEP // _WARM_UP,
    "run": _STEP / _RUN,
    "rest": (_STEP - _WARM_UP) / (_RUN - _WARM_UP),
    "rest-whole": (_STEP - _WARM_UP) // (_RUN - _WARM_UP),
    "rest-but-one": (_STEP - _WARM_UP) / (_RUN - 1 - _WARM_UP),
    "rest-by-run": (_STEP - _WARM_UP) / _RUN,
    "run-by-rest": _STEP / (_RUN - _WARM_UP),
}
_SHAPES = {
    "line": lambda t: t,
    "square": lambda t: t**2,
    "peak": np.ones_like,
    "zero": np.zeros_like,
    "down": lambda t: 1 - t,
    "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2,
    "cosine-doubled": lambda t: 1 + np.cos(np.pi * t),
    "cosine-bare": lambda t: np.cos(np.pi * t),
    "cosine-bare-half": lambda t: np.cos(np.pi * t) / 2,
    "cosine-up": lambda t: (1 - np.cos(np.pi * t)) / 2,
    "cosine-quarter": lambda t: np.cos(np.pi * t / 2),
    "cosine-quarter-raised": lambda t: (1 + np.cos(np.pi * t / 2)) / 2,
    "cosine-full": lambda t: (1 + np.cos(2 * np.pi * t)) / 2,
    "cosine-degrees": lambda t: (1 + np.cos(180 * t)) / 2,
    "cosine-no-pi": lambda t: (1 + np.cos(t)) / 2,
    "sine": lambda t: np.sin(np.pi * t),
    "sine-quarter": lambda t: np.sin(np.pi * t / 2),
    "sine-quarter-down": lambda t: 1 - np.sin(np.pi * t / 2),
    "sine-raised": lambda t: (1 + np.sin(np.pi * t)) / 2,
}
_NO_WARM_UP = "there is no warm-up: the rate does not begin at 0, but at the peak."
_NOT_HALF = "Half a cosine is the part of the wave from its top to its bottom."
_BOTTOM = (
    f"{_NOT_HALF} The top of a bare cosine is 1 and its bottom -1: where must they come to be?"
)
_SINE = "the fall is made of a sine. A sine begins in the middle of its wave, a cosine at its top."
_WHOLE_RUN = (
    "the cosine runs over the whole run, so at the end of the warm-up it has already fallen, and "
    "the rate jumps. It begins where the warm-up ends, and what is left of the run is its length."
)
RATE_MISTAKES = {
    "line:tenth-from-1 cosine": "the warm-up counts its steps from 1. Here step 0 has a rate of 0.",
    "line:tenth-whole cosine": "the rate is 0 until the warm-up ends, and then it jumps. (`//` "
    "does that: it divides and drops the fraction.)",
    "line:run cosine": "the warm-up gets only a tenth of the way to the peak, and then the rate "
    "jumps: the step is divided by all steps, not by those of the warm-up.",
    "peak cosine": _NO_WARM_UP,
    "down cosine": "the rate falls during the warm-up. It rises from 0.",
    "square cosine": "the warm-up is no straight line: it rises with the square of the step.",
    "cosine-up cosine": "the warm-up is half a cosine, too. It is a straight line.",
    "sine-quarter cosine": "the warm-up is a part of a sine. It is a straight line.",
    "cosine:rest cosine": f"{_NO_WARM_UP} The cosine's formula is in use before its time, too.",
    "cosine:run cosine:run": f"{_NO_WARM_UP} The cosine runs over all steps.",
    "down:run down:run": f"{_NO_WARM_UP} From the first step on, it falls in a straight line.",
    "line cosine:run": _WHOLE_RUN,
    "line cosine:rest-by-run": "the fall ends too late, and the rate is not 0 at `step == steps`: "
    "the steps since the warm-up are divided by all steps. How many are left after the warm-up?",
    "line cosine:run-by-rest": "the cosine does not begin where the warm-up ends: its steps are "
    "counted from the beginning of the run.",
    "line cosine:rest-but-one": "the rate is 0 one step too early, and rises again: it reaches 0 "
    "at `step == steps`, one behind the run's last step.",
    "line cosine:rest-whole": "after the warm-up the rate stays at the peak until the very end. "
    "(`//` does that: it divides and drops the fraction.)",
    "line down": "after the warm-up the rate falls in a straight line. A cosine begins flat and "
    "ends flat.",
    "line down:run": "after the warm-up the rate falls in a straight line, and from another rate "
    "than the peak.",
    "line peak": "after the warm-up the rate stays at the peak.",
    "line zero": "after the warm-up the rate is 0.",
    "line cosine-quarter": "the fall is a quarter of a cosine: it ends steep, not flat. "
    f"{_NOT_HALF}",
    "line cosine-quarter-raised": "the fall is a quarter of a cosine, and ends at half the peak. "
    f"{_NOT_HALF}",
    "line cosine-full": "the rate falls and rises again: a whole wave, from its top to its next "
    f"top. {_NOT_HALF}",
    "line cosine-degrees": "the cosine gets degrees. np.cos, math.cos and keras.ops.cos take "
    "radians: what is half a turn in these?",
    "line cosine-no-pi": "the fall stops early: the cosine's argument goes from 0 to 1. How far "
    "does it go in half a wave, in radians?",
    "line cosine-doubled": "the fall begins at twice the peak: a cosine and 1 together reach 2.",
    "line cosine-bare": f"the rate becomes negative. {_BOTTOM}",
    "line cosine-bare-half": f"the rate becomes negative, and the fall begins at half the peak. "
    f"{_BOTTOM}",
    "line cosine-up": "after the warm-up the rate starts again at 0 and rises: mind the sign of "
    "the cosine.",
    "line sine": f"{_SINE} Here the rate rises from 0 a second time.",
    "line sine-raised": _SINE,
    "line sine-quarter-down": f"{_SINE} It must begin flat, and yours begins steep.",
}
_PLACES = (
    (0, "The line begins at 0."),
    (0.099, "That is not on the straight line from 0 to PEAK, which ends with the first tenth."),
    (0.1, "There the warm-up has just ended: the rate should be PEAK."),
    (0.999, "That is not on half a cosine from PEAK to 0. What is the rate half-way down?"),
    (1, "There the rate should be 0."),
)


def rate(step, steps):
    """Return the learning rate of a step, counted from 0, in a run of so many steps."""
    warm_up = steps / 10
    if step < warm_up:
        return PEAK * step / warm_up
    t = (step - warm_up) / (steps - warm_up)
    return PEAK * (1 + np.cos(np.pi * t)) / 2


def judge_rate(function):
    """Judge a function (step, steps) -> the learning rate, a number."""
    rates = SCALE / PEAK * np.array(_rates(function))
    if not probes.same(rates, follow_rate(RATE)):
        otherwise = _length_told(function) or _rates_told(rates)
        probes.judge_output(rates, RATE, RATE_MISTAKES, otherwise, follow_rate)
    _judge_ends(rates)


def _judge_ends(rates):
    """Raise Wrong unless the rate is 0 at both ends, more exactly than elsewhere."""
    at_ends = (_STEP == 0) | (_STEP == _RUN)
    above = at_ends & (np.abs(rates) > _ZERO)
    if above.any():
        right = follow_rate(RATE)
        raise Wrong(_floor_told(rates, right) or _place_told(np.where(above, rates, right), right))


def follow_rate(line):
    """Compute the rates at PROBES of a line such as RATE, times SCALE / PEAK: float array."""
    rise, fall = line.split()
    return SCALE * np.where(_RISING, _shaped(rise, "tenth"), _shaped(fall, "rest"))


def _shaped(word, clock):
    shape, _, other = word.partition(":")
    return _SHAPES[shape](_CLOCKS[other or clock])


def _rates(function):
    """Return the reader's rates at PROBES, or raise Wrong."""
    found = [_called(function, *probe) for probe in PROBES]
    if all(value is None for value in found):
        raise NotDone(NOTHING_RETURNED)
    return [_rate_of(value, *probe) for value, probe in zip(found, PROBES, strict=True)]


def _called(function, step, steps):
    """Return what the reader's function returns, None if it is the stub's."""
    try:
        return call(function, step, steps)
    except NotDone:
        return None
    except Raised as reason:
        raise Wrong(f"{reason}, in rate({step}, {steps})") from None


def _rate_of(value, step, steps):
    """Return a rate of the reader's as a float, or raise Wrong."""
    found = f"your function returned {described(value)} for rate({step}, {steps})"
    if value is None:
        raise Wrong(f"{found}, but not for each step. Which way through it has no `return`?")
    array = _array_of(value)
    if array is None:
        raise Wrong(f"{found}. Expected: one number.")
    if array.shape != ():
        raise Wrong(f"{found}, of shape {array.shape}. Expected: one number, the rate of one step.")
    if not np.isfinite(array):
        raise Wrong(f"{found}. Expected: a finite number.")
    return float(array)


def _array_of(value):
    """Return numbers, a tensor or an array as a NumPy array; None if it is none of these."""
    try:
        value = float(value) if is_number(value) else value
        array = ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)
    except Exception:  # Whatever a strange value does, it is no array.
        return None
    return array if array.dtype.kind in "iuf" else None


def _length_told(function):
    """Say what in the reader's function does not depend on the run's length, or return None."""
    short, long = (
        [
            _rate_of(_called(function, *probe), *probe)
            for probe in zip((1, 2, 64_000), runs, strict=True)
        ]
        for runs in ((120, 120, 64_000), (840, 840, 128_000))
    )
    if short[0] >= short[1] or not np.allclose(short[:2], long[:2]):
        return None
    if np.allclose(short, long):
        return "a step has the same rate in runs of any length: `steps` is unused."
    return (
        "the rate rises equally fast in a run of 120 steps and in one of 840. The warm-up has no "
        "fixed length: it is a tenth of the run."
    )


def _rates_told(rates):
    """Say what is wrong with rates that no line of RATE_MISTAKES gives as a whole."""
    right = follow_rate(RATE)
    if np.ptp(rates) == 0:
        return f"the rate is {_shown(rates[0])} at each step of each run."
    return (
        _floor_told(rates, right)
        or _share_told(rates)
        or _top_told(rates, right, "")
        or _rise_told(rates, right)
        or _top_told(rates, right, "in the first tenth ", _RISING)
        or _top_told(rates, right, "after the first tenth ", ~_RISING)
        or _one_length_told(rates, right)
        or _place_told(rates, right)
    )


def _top_told(rates, right, where, part=slice(None)):
    """Say that a part of the rates is a multiple of the right ones, or return None."""
    rates, right = rates[part], right[part]
    factor = rates[right.argmax()] / right.max()
    if factor == 0 or probes.same(rates, right) or not probes.same(rates / factor, right):
        return None
    top = f"its top is {_shown(SCALE * factor)}, not PEAK."
    missing = " PEAK is missing." if np.isclose(factor * PEAK, 1) else f" (PEAK is {PEAK}.)"
    return f"{where}the shape is right, but {top}{missing}"


def _floor_told(rates, right):
    """Say that the rate stops, or is stretched to stop, above 0, or return None."""
    floor = rates[_STEP == _RUN].min()
    if not _ZERO < floor < SCALE:
        return None
    falling = ~_RISING
    stretched = floor + (1 - floor / SCALE) * right
    if probes.same(rates[falling], np.maximum(right, floor)[falling]):
        what = f"the rate never falls below {_shown(floor)}"
    elif probes.same(rates[falling], stretched[falling]):
        what = f"the fall is stretched between PEAK and {_shown(floor)}"
    else:
        return None
    begins = "" if probes.same(rates[_RISING], right[_RISING]) else " The line begins at 0, too."
    return f"{what}. Asked for is a fall to 0, at `step == steps`.{begins}"


def _share_told(rates):
    """Say that the warm-up is another part of the run than a tenth, or return None."""
    share = SCALE * (_STEP / _RUN)[1] / rates[1] if rates[1] > 0 else 0
    if not 0.02 < share < 0.9:
        return None
    rise = _STEP / (share * _RUN)
    fall = (1 + np.cos(np.pi * (_STEP / _RUN - share) / (1 - share))) / 2
    found = SCALE * np.where(rise < 1, rise, fall)
    if not probes.same(rates, found):
        return None
    return f"the warm-up takes {share:.3g} of the run. Asked for is a tenth of it."


def _rise_told(rates, right):
    """Say what is wrong with the first tenth, whatever follows it, or return None."""
    rising = rates[_RISING]
    if probes.same(rising, right[_RISING]):
        return None
    texts = (
        text
        for line, text in RATE_MISTAKES.items()
        if probes.same(rising, follow_rate(line)[_RISING])
    )
    return next(texts, None)


def _one_length_told(rates, right):
    """Say that the rates are right in a run of one length and wrong in another, or return None."""
    by_run = zip(_RUNS, np.split(rates, len(_RUNS)), np.split(right, len(_RUNS)), strict=True)
    fits = {run: bool(probes.same(found, expected)) for run, found, expected in by_run}
    if not any(fits.values()):
        return None
    one, other = (next(run for run in _RUNS if fits[run] is fit) for fit in (True, False))
    return (
        f"the rates are right in a run of {one} steps, not in one of {other}. Does a number in "
        "your function belong to one length?"
    )


def _place_told(rates, right):
    """Say at which step the first wrong rate is, and what is there."""
    differences = np.abs(rates - right)
    first = np.flatnonzero(differences >= min(probes.TOLERANCE, differences.max()))[0]
    step, steps = PROBES[first]
    place = next(text for until, text in _PLACES if step <= until * steps)
    return f"rate({step}, {steps}) is {_shown(rates[first])}. {place}"


def _shown(scaled):
    return f"{scaled / SCALE * PEAK:.4g}"


# 06-flip: probabilities averaged over the picture and its mirror image

FLIP = "mirror model average"
_BATCH = 5
_COUNTS = (_BATCH, probes.CLASSES)
_PREPROCESSED = (
    "The preprocessing is inside the model, and now happens a second time: hand over the pixels as "
    "they are."
)
_BLENDED = (
    "the pictures are averaged, and the model sees one blend of both. Asked for is the mean of "
    "what it outputs for each."
)
FLIP_MISTAKES = {
    "upside-down model average": "the second picture is upside down. Which axis of (pictures, "
    "height, width, colours) leads from left to right? (np.fliplr turns the second axis round.)",
    "colours model average": "the second picture has red and blue exchanged. Which axis of "
    "(pictures, height, width, colours) leads from left to right?",
    "order model average": "the order of the pictures is turned round, not each picture, so two "
    "different pictures are averaged. Which axis of (pictures, height, width, colours) leads from "
    "left to right?",
    "turn model average": "the second picture is turned by half a turn: upside down as well as "
    "mirrored. One axis alone changes its direction.",
    "every-axis model average": "everything is turned round: the order of the pictures, up and "
    "down, and the colours, too. (np.flip does that without an axis.) One axis alone changes its "
    "direction.",
    "mirror model first": "only the picture as it is counts; the mirror image changes nothing.",
    "mirror model second": "only the mirror image counts; the picture as it is changes nothing.",
    "mirror model sum": "the probabilities of a picture add up to 2: this is the sum of the two, "
    "not their mean.",
    "mirror model half-second": "only the second of the two is halved: `/` binds more tightly than "
    "`+`.",
    "mirror model maximum": "the larger of the two probabilities counts. Asked for is their mean.",
    "mirror model minimum": "the smaller of the two probabilities counts. Asked for is their mean.",
    "mirror model product": "the two probabilities are multiplied. Asked for is their mean.",
    "mirror model product normalise": "the two probabilities are multiplied, and made to add up to "
    "1 again. Asked for is their mean.",
    "mirror model geometric": "this is the root of the two probabilities' product, the geometric "
    "mean. Asked for is the ordinary one.",
    "mirror model geometric normalise": "this is the geometric mean of the two probabilities, made "
    "to add up to 1 again. Asked for is the ordinary one.",
    "mirror model average softmax": "the mean goes through a softmax. The model outputs "
    "probabilities already; a second softmax makes them nearly equal.",
    "mirror model sum softmax": "the sum goes through a softmax. The model outputs probabilities "
    "already; a second softmax makes them nearly equal.",
    "mirror blend model": _BLENDED,
    "mirror blend-uint8 model": f"{_BLENDED} (And a sum of bytes begins again at 0 after 255.)",
    "mirror scale model average": f"the pictures are scaled before the model sees them. "
    f"{_PREPROCESSED}",
    "mirror caffe model average": "the pictures go through the preprocess_input of keras."
    f"applications' ResNet. {_PREPROCESSED}",
    "mirror model-in-training average": "the model runs in training mode: batch normalisation "
    "takes the mean and variance of these few pictures instead of those that were gathered in "
    "training.",
}
_ROWS = "Expected: a row for each picture, in it a number for each class."
_FLIP_SHAPES = {
    (): "That is one number for all pictures and classes.",
    (_BATCH,): "That is one number for each picture. Asked for are the probabilities of all "
    "classes, not the class.",
    (probes.CLASSES,): "That is the mean over the pictures, too: along which axis is it taken?",
    (2, *_COUNTS): "The two stand one behind the other, not averaged.",
    (2 * _BATCH, probes.CLASSES): "The rows of the mirror images follow those of the pictures, not "
    "averaged.",
    (_BATCH, 2 * probes.CLASSES): "The two stand side by side, not averaged.",
    (_BATCH, *probes.PICTURE): "Those are pictures. The model makes probabilities of them.",
}
_FOUND = {
    probes.PICTURE: "A model takes a batch of pictures. `pictures` is one: hand over all of it.",
    (_BATCH, *probes.PICTURE[1::-1], 3): "Height and width have changed places. A mirror image has "
    "those of its picture: which one axis changes its direction?",
    (1, _BATCH, *probes.PICTURE): "`pictures` is a batch already. It needs no axis in front.",
}

_AXES = {
    "mirror": 2,
    "upside-down": 1,
    "order": 0,
    "colours": 3,
    "turn": (1, 2),
    "every-axis": (0, 1, 2, 3),
}
_OTHER_STEPS = {
    "scale": lambda y: y / 255,
    "caffe": lambda y: ops.stack([keras.applications.resnet.preprocess_input(z) for z in y]),
    "blend": lambda y: (y[0] + y[1]) / 2,
    "blend-uint8": lambda y: (y[0] + y[1]) % 256 / 2,
    "average": lambda y: (y[0] + y[1]) / 2,
    "sum": lambda y: y[0] + y[1],
    "half-second": lambda y: y[0] + y[1] / 2,
    "first": lambda y: y[0],
    "second": lambda y: y[1],
    "maximum": lambda y: ops.maximum(y[0], y[1]),
    "minimum": lambda y: ops.minimum(y[0], y[1]),
    "product": lambda y: y[0] * y[1],
    "geometric": lambda y: ops.sqrt(y[0] * y[1]),
    "normalise": lambda y: y / ops.sum(y, -1, keepdims=True),
    "softmax": ops.softmax,
}


def both(model, pictures):
    """Return the mean of a model's probabilities for pictures and for their mirror images."""
    mirrored = pictures[:, :, ::-1]
    return (model(pictures, training=False) + model(mirrored, training=False)) / 2


def judge_flip(function):
    """Judge a function (model, pictures) -> probabilities, averaged with the mirror images'."""
    model = probes.trained_model()
    found = SCALE * _probabilities_of(_averaged(function, model))
    follow = partial(follow_flip, model=probes.trained_model())
    told = _calls_told(watching.seen_by(model))
    otherwise = told or _probabilities_told(found, follow(FLIP))
    probes.judge_output(found, FLIP, FLIP_MISTAKES, otherwise, follow)


def follow_flip(line, model=None):
    """Compute a line of steps such as FLIP, times SCALE: float array (pictures, classes)."""
    model = model or probes.trained_model()
    views = {name: partial(_views, axes=axes) for name, axes in _AXES.items()}
    return SCALE * probes.follow(
        line,
        _pictures().astype("float32"),
        **views,
        **_OTHER_STEPS,
        **{
            "model": lambda y: _run(model, y),
            "model-in-training": lambda y: ops.stack([model(z, training=True) for z in y]),
        },
    )


def _pictures():
    """Fewer pictures than the height of one, so that no axis passes for another."""
    return probes.pictures()[:_BATCH]


def _views(pictures, axes):
    """Return the pictures and, behind them, the same with axes turned round."""
    return ops.stack([pictures, ops.flip(pictures, axes)])


def _run(model, y):
    """Call a model on pictures, or on both views of them."""
    found = model(ops.reshape(y, (-1, *probes.PICTURE)), training=False)
    return ops.reshape(found, (*y.shape[:-3], probes.CLASSES))


def _averaged(function, model):
    try:
        return call(function, model, _pictures())
    except Raised as reason:
        for shape, text in _FOUND.items():
            if f"found shape={shape}" in str(reason):
                raise Wrong(f"{reason}. {text}") from None
        raise


def _calls_told(calls):
    """Say what the model got other than each picture and its mirror image, or return None."""
    rows = watching.rows(calls)
    if not rows:
        return None
    if any(each.training for each in calls):
        return FLIP_MISTAKES["mirror model-in-training average"]
    pictures = _pictures().astype("float32")
    views = {"the picture": pictures, "the mirror image": pictures[:, :, ::-1]}
    foreign = [row for row in rows if not any(_is_among(row, view) for view in views.values())]
    if foreign:
        return (
            f"of the {len(rows)} pictures that the model gets, {len(foreign)} are neither one of "
            f"yours nor its mirror image. {_PREPROCESSED if np.max(foreign) < 3 else ''}"
        )
    for what, view in views.items():
        missing = sum(not _is_among(picture, rows) for picture in view)
        if missing == _BATCH:
            return f"the model never gets {what}. What is it that you turn round?"
        if missing:
            return (
                f"for {missing} of {_BATCH} pictures the model never gets {what}. (A random flip "
                "turns only some of them round.)"
            )
    return None


def _is_among(picture, others):
    return any(watching.same_picture(each, picture) for each in others)


def _probabilities_of(value):
    """Return the reader's probabilities as an array (pictures, classes), or raise Wrong."""
    array = _array_of(value)
    if array is None:
        raise Wrong(f"your function returned {described(value)}, no array of numbers. {_ROWS}")
    if array.shape != _COUNTS:
        found = f"your function returned {described(value)} of shape {array.shape}"
        counts = f"for {_BATCH} pictures and {probes.CLASSES} classes"
        raise Wrong(f"{found} {counts}. {_FLIP_SHAPES.get(array.shape, _ROWS)}")
    return array.astype("float64")


def _probabilities_told(found, right):
    """Say what is wrong with probabilities, times SCALE, that no line of FLIP_MISTAKES gives."""
    sums = found.sum(axis=1) / SCALE
    wrong = ~np.isclose(sums, 1, atol=5e-3)
    if wrong.any():
        total = f"the numbers of a picture add up to {sums[wrong][0]:.4g}."
        return f"{total} Probabilities add up to 1."
    others = np.sum(np.abs(found - right).max(axis=1) >= probes.TOLERANCE)
    return (
        f"{others} of {_BATCH} pictures get other probabilities than the mean of those that the "
        "model gives the picture and its mirror image. What does the model see, and what happens "
        "to what it outputs?"
    )


# 06-crop: the window of a padded picture, mirrored or not

_CROP_PICTURE = np.random.default_rng(3).integers(1, 255, (6, 8, 3)).astype("uint8")
_CROPS = ((0, 0, False), (4, 4, False), (1, 6, False), (8, 3, True), (4, 4, True), (2, 7, True))
_PAD = 4


def crop_and_flip(picture, top, left, mirrored):
    """Return the window of a padded picture that begins at (top, left), mirrored or not."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)))
    window = padded[top : top + height, left : left + width]
    return window[:, ::-1] if mirrored else window


def _crop_way(
    pad=_PAD, mode="constant", flip=1, first=False, swap=False, inverted=False, always=None
):
    """Return a function like `crop_and_flip` that goes another way."""

    def way(picture, top, left, mirrored):
        mirrored = (not mirrored if inverted else mirrored) if always is None else always
        top, left = (left, top) if swap else (top, left)
        (height, width), picture = picture.shape[:2], _turned(picture, flip, first and mirrored)
        padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
        window = padded[top : top + height, left : left + width]
        return _turned(window, flip, mirrored and not first)

    return way


def _turned(picture, axis, turned):
    return np.flip(picture, axis) if turned else picture


_CROP_MISTAKES = (
    (
        _crop_way(first=True),
        "the picture is mirrored before it is cut, so that the window lies elsewhere: cut first, "
        "then mirror what was cut.",
    ),
    (
        _crop_way(flip=0),
        "the window is turned upside down. Mirrored are its columns, not its rows.",
    ),
    (_crop_way(flip=2), "the colours change places: the last axis is red, green and blue."),
    (
        _crop_way(flip=(0, 1)),
        "the window is turned upside down as well: `[::-1, ::-1]` turns rows and columns.",
    ),
    (_crop_way(always=False), "no window is mirrored: `mirrored` is unused."),
    (_crop_way(always=True), "every window is mirrored: `mirrored` is unused."),
    (_crop_way(inverted=True), "the wrong windows are mirrored: those with `mirrored` False."),
    (
        _crop_way(swap=True),
        "`top` and `left` have changed places. The first axis of a picture leads down, the second "
        "to the right.",
    ),
    (
        _crop_way(mode="reflect"),
        "what lies outside the picture is its reflection. Asked for are zeros.",
    ),
    (
        _crop_way(mode="edge"),
        "what lies outside the picture repeats its edge. Asked for are zeros.",
    ),
)


def judge_crop(function):
    """Judge a function (picture, top, left, mirrored) -> the window, an array."""
    found = [_window(function, *crop) for crop in _CROPS]
    if _all_same(found, crop_and_flip):
        return
    for way, text in _CROP_MISTAKES:
        if _all_same(found, way):
            raise Wrong(text)
    for crop, window in zip(_CROPS, found, strict=True):
        if not np.array_equal(window, crop_and_flip(_CROP_PICTURE, *crop)):
            raise Wrong(_window_told(window, crop))


def _window(function, *crop):
    """Return a window of the reader's as an array of the picture's shape, or raise Wrong."""
    value = call(function, _CROP_PICTURE.copy(), *crop)
    array, where = _array_of(value), "top {}, left {}, mirrored {}".format(*crop)
    if array is None:
        raise Wrong(f"your function returned {described(value)}, no array of numbers.")
    if array.shape == _CROP_PICTURE.shape:
        return array
    text = f"for {where} your function returned the shape {array.shape}. Expected: that of the "
    text += f"picture, {_CROP_PICTURE.shape}."
    if array.shape[0] > _CROP_PICTURE.shape[0] + 7:
        raise Wrong(
            f"{text} Either the picture is padded and no window is cut out of it, or the window "
            "has a fixed size, such as 32, in place of the picture's own height and width."
        )
    if np.prod(array.shape) < _CROP_PICTURE.size:
        raise Wrong(
            f"{text} The window reaches over the edge: of the picture that is not padded, or is "
            "padded by too little. A slice that does so is cut short without an error."
        )
    raise Wrong(f"{text} How far does a slice reach that begins at `top`?")


def _all_same(found, way):
    """Say whether the windows are those of a function, which may not go all the way."""
    expected = [way(_CROP_PICTURE, *crop) for crop in _CROPS]
    return all(map(np.array_equal, found, expected))


def _window_told(window, crop):
    right = crop_and_flip(_CROP_PICTURE, *crop)
    where = "top {}, left {}, mirrored {}".format(*crop)
    if np.array_equal(window, _CROP_PICTURE):
        return f"for {where} your function returns the picture as it came. Nothing is cut."
    return (
        f"for {where}, {np.mean(window != right):.0%} of the window's numbers are others. "
        f"In the padded picture the window begins in row {crop[0]} and column {crop[1]}, counted "
        "from 0; row 4 and column 4 are the picture's first."
    )


# 06-decay: one weight, momentum 0.9, two steps, three meanings of a decay of 0.1

_MEANINGS = ("loss", "gradient", "update")


def decayed(start=1.0, rate=0.1, decay=0.1, momentum=0.9, steps=2, factor=1, beside=False):
    """Return one weight after steps of SGD whose only gradient is that of its decay.

    Args:
        start: the weight at first.
        rate: the learning rate.
        decay: the value of the decay.
        momentum: of SGD.
        steps: how many.
        factor: what the value is multiplied by in the gradient: 2 for a sum of squares in the loss.
        beside: whether the weight decays beside the gradient, which is then 0.
    """
    weight, velocity = start, 0.0
    for _ in range(steps):
        if beside:
            weight -= rate * decay * weight
        else:
            velocity = momentum * velocity - rate * factor * decay * weight
            weight += velocity
    return weight


_LOSS, _GRADIENT, _UPDATE = decayed(factor=2), decayed(), decayed(beside=True)
_ONE_STEP = "That is the weight after one step. Asked for is the one after two."
_NO_RATE = "The learning rate is missing: a step is the rate times what the decay asks for."
_NO_MEMORY = (
    "In the second step the momentum still carries nine tenths of the first one: v = 0.9 v - rate "
    "* gradient, and w grows by v."
)


def _decay_meanings(factor):
    """Return {wrong weight: what it means} of a decay that goes through the gradient."""
    return {
        decayed(factor=factor, steps=1): _ONE_STEP,
        decayed(factor=factor, momentum=0): _NO_MEMORY,
        decayed(factor=factor, rate=1): _NO_RATE,
        decayed(factor=factor, decay=1): "The decay is missing: only its rate of 0.1 is there.",
        decayed(factor=factor, steps=3): "That is the weight after three steps.",
    }


def judge_decay(answer):
    """Judge the weight after two steps in the three meanings."""
    no_two = (
        "The derivative of 0.1 * w ** 2 is 0.2 * w. You took 0.1 * w: that is the next meaning."
    )
    a_two = "That is the decay in the loss, whose derivative has a factor of 2. Here g is 0.1 * w."
    apart = (
        "That is the decay with momentum. In this meaning the weight is multiplied by 1 - rate * "
        "decay, and the momentum never hears of it."
    )
    answer = plain(answer)
    expect_numbers(answer, _MEANINGS)
    rounded = [round(part, 4) for part in answer]
    right = [round(part, 4) for part in (_LOSS, _GRADIENT, _UPDATE)]
    wrong = (
        _decay_meanings(2) | {_GRADIENT: no_two, _UPDATE: "The gradient of the loss has momentum."},
        _decay_meanings(1) | {_LOSS: a_two, _UPDATE: _NO_MEMORY},
        {_GRADIENT: apart, _LOSS: apart, 0.99: _ONE_STEP, 0.81: _NO_RATE, 0.98: _LINEAR},
    )
    wrong = [{round(k, 4): text for k, text in each.items()} for each in wrong]
    otherwise = [
        f"Write v and w for both steps down; they begin with v = 0 and w = 1. {each}"
        for each in (
            "The gradient is 2 * 0.1 * w.",
            "The gradient is 0.1 * w.",
            "There is no v: each step multiplies w by a number just below 1.",
        )
    ]
    judge_numbers(rounded, _MEANINGS, right, wrong, otherwise)


_LINEAR = "The second step begins with the weight that the first one has left, which is below 1."


# 06-loop: steps of plain SGD

_LOOP_RATE, _LOOP_SIZES = 0.05, (4, 3)
_EVERY_BATCH = slice(None)


def train_epoch(model, batches, rate):
    """Take a step of plain SGD with each batch; return the losses that were met on the way."""
    import tensorflow as tf

    losses = []
    for pictures, labels in batches:
        with tf.GradientTape() as tape:
            probabilities = model(pictures, training=True)
            each = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.reduce_mean(each)
        gradients = tape.gradient(loss, model.trainable_variables)
        for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
            weight.assign_sub(rate * gradient)
        losses.append(float(loss))
    return losses


def _epoch_by_keras(model, batches, rate):
    """Take the steps of `train_epoch` on any of Keras' backends."""
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    losses = []
    for pictures, labels in batches:
        model.reset_metrics()
        losses.append(float(model.train_on_batch(pictures, labels)))
    return losses


def _on_tensorflow():
    return keras.backend.backend() == "tensorflow"


def _loop_model():
    """Return a small model with batch normalisation, the same at each call."""
    inputs = keras.Input(probes.PICTURE, name="pixels")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(6, 4, strides=4)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.5)(x))
    x = keras.layers.Dense(probes.CLASSES, activation="softmax")(keras.layers.Flatten()(x))
    return probes.with_known_weights(keras.Model(inputs, x, name="small"), seed=7)


def _loop_batches():
    ends = np.cumsum(_LOOP_SIZES)
    labels = np.arange(ends[-1]) * 3 % probes.CLASSES
    return list(
        zip(
            np.split(probes.pictures()[: ends[-1]], ends[:-1]),
            np.split(labels, ends[:-1]),
            strict=True,
        )
    )


def _loop_way(
    sign=-1, training=True, loss="mean", rate=None, momentum=0.0, batches=_EVERY_BATCH, calls=1
):
    """Return a function like `train_epoch` that goes another way, and returns the weights."""

    def way(model, all_batches, given):
        import tensorflow as tf

        velocities = [0.0 for _ in model.trainable_variables]
        for pictures, labels in all_batches[batches]:
            with tf.GradientTape() as tape:
                found = model(pictures, training=training)
                for _ in range(calls - 1):
                    model(pictures, training=training)
                value = _LOOP_LOSSES[loss](labels, found)
            gradients = tape.gradient(value, model.trainable_variables)
            for i, weight in enumerate(model.trainable_variables):
                velocities[i] = momentum * velocities[i] + (rate or given) * gradients[i]
                weight.assign_add(sign * velocities[i])

    return way


_crossentropy = keras.losses.sparse_categorical_crossentropy
_LOOP_LOSSES = {
    "mean": lambda y, p: ops.mean(_crossentropy(y, p)),
    "sum": lambda y, p: ops.sum(_crossentropy(y, p)),
    "logits": lambda y, p: ops.mean(_crossentropy(y, ops.softmax(p))),
    "squares": lambda y, p: ops.mean((ops.one_hot(y, probes.CLASSES) - p) ** 2),
}
_LOOP_MISTAKES = (
    (
        {"training": False},
        "the model runs in inference mode: batch normalisation takes its moving statistics, which "
        "never learn, instead of the batch's own.",
    ),
    ({"sign": 1}, "the weights go up the gradient, and the loss rises. Which sign has a step?"),
    (
        {"loss": "sum"},
        "a step is as many times too long as a batch has pictures: the loss is the mean over the "
        "batch, not the sum.",
    ),
    (
        {"loss": "logits"},
        "the loss takes the model's probabilities for logits, and sends them through a second "
        "softmax.",
    ),
    ({"loss": "squares"}, "the loss is a mean of squares. Asked for is the cross-entropy."),
    ({"rate": 1.0}, "`rate` is unused: a step is the whole gradient."),
    ({"rate": 0.01}, "`rate` is unused: the rate is 0.01, the default of Keras' SGD."),
    ({"momentum": 0.9}, "the first step is right, the second has momentum. Plain SGD has none."),
    ({"batches": slice(0, 1)}, "only the first batch is trained on. Is the `return` in the loop?"),
    ({"batches": slice(1, None)}, "only the last batch is trained on. What stands in the loop?"),
    (
        {"batches": slice(None, None, -1)},
        "the batches are trained on from the last to the first.",
    ),
    (
        {"calls": 2},
        "the model is called in training mode twice a step: the moving statistics of batch "
        "normalisation move twice.",
    ),
)


def judge_loop(function):
    """Judge a function (model, batches, rate) that trains the model and returns the losses."""
    if not _on_tensorflow():
        raise NotDone(
            "the tape is TensorFlow's: this exercise needs that backend, and Keras has another "
            "here. Until then the library's loop, written with Keras alone, stands in."
        )
    model, begun = _loop_model(), _loop_model().get_weights()
    value = call(function, model, _loop_batches(), _LOOP_RATE)
    found = model.get_weights()
    losses, right = _trained(train_epoch)
    if not _same_weights(found, right, begun):
        raise Wrong(_loop_told(found, right, begun))
    _judge_losses(value, losses)


def _trained(way):
    """Return what a way to train returns, and the weights that it leaves."""
    model = _loop_model()
    return way(model, _loop_batches(), _LOOP_RATE), model.get_weights()


def _same_weights(found, right, begun):
    changes = [[new - old for new, old in zip(each, begun, strict=True)] for each in (found, right)]
    return probes.same_changes(*changes)


def _loop_told(found, right, begun):
    model = _loop_model()
    each = list(zip(model.weights, found, right, begun, strict=True))
    if all(np.array_equal(new, old) for weight, new, _, old in each if weight.trainable):
        return (
            "no weight has changed. Where does your loop write to the model's weights? (`weight = "
            "…` gives a name to another tensor; `weight.assign_sub(…)` changes the weight.)"
        )
    for options, text in _LOOP_MISTAKES:
        if _same_weights(found, _trained(_loop_way(**options))[1], begun):
            return text
    names = [
        f"{weight.path.split('/')[-2]}'s {weight.name}"
        for weight, new, good, old in each
        if not probes.same_changes([new - old], [good - old])
    ]
    return (
        f"the weights are not those after two steps of plain SGD: {', '.join(names[:3])} and "
        f"{max(len(names) - 3, 0)} more have changed in another way. Each step takes the gradient "
        "of the mean cross-entropy, at the weights that the step before has left."
    )


def _judge_losses(value, right):
    array = _array_of(value)
    if array is None or array.dtype.kind != "f":
        raise Wrong(f"the training is right, but it returned {described(value)}. Expected: losses.")
    if array.shape == (len(right),) and np.allclose(array, right, rtol=1e-3):
        return
    found = f"the training is right, but it returned {described(np.round(array, 4).tolist())}."
    if array.ndim == 0:
        raise Wrong(f"{found} Expected: a list, with the loss of each batch.")
    if array.shape != (len(right),):
        raise Wrong(f"{found} Expected: one loss a batch, for {len(right)} batches.")
    raise Wrong(f"{found} The loss of a batch is that of before its step, its mean over the batch.")


# 06-fault-schedule: `decay_steps` in epochs, where the schedule counts steps

_RUNS_OF_FAULT = ((5, 1000, 32), (12, 45_000, 128))
_STARTS, _PARTS_OF_RUN = 0.1, (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
_ROUNDED_OVER_THE_RUN = (
    "the rate is at zero a little before the end: each epoch ends with a smaller batch, which is "
    "a step, too. Round up within an epoch, then multiply."
)
_FAULT_STEPS = (
    (
        lambda e, p, b: -(-p // b),
        "the rate is at zero after one epoch: those are the steps of one. How many has the run?",
    ),
    (
        lambda e, p, b: e * (p // b),
        "the rate is at zero a little before the end: the last batch of an epoch, which is "
        "smaller, is a step, too. In which direction do you round?",
    ),
    (lambda e, p, b: e * p / b, _ROUNDED_OVER_THE_RUN),
    (lambda e, p, b: e * p // b, _ROUNDED_OVER_THE_RUN),
    (lambda e, p, b: -(-e * p // b), _ROUNDED_OVER_THE_RUN),
    (
        lambda e, p, b: e * p,
        "the rate has hardly fallen when the run ends: a step takes a batch, not a picture.",
    ),
    (lambda e, p, b: p, "that counts the pictures of an epoch. The schedule counts steps."),
    (lambda e, p, b: e * b, "that multiplies epochs by the size of a batch. Steps are batches."),
    (lambda e, p, b: b, "that is the size of a batch. The schedule counts steps."),
)


def falling_rate(epochs, pictures, batch):
    """Return a schedule that falls from 0.1 along half a cosine and is at 0 as the run ends."""
    steps = epochs * int(np.ceil(pictures / batch))
    return keras.optimizers.schedules.CosineDecay(0.1, decay_steps=steps)


def judge_fault_schedule(function):
    """Judge a function (epochs, pictures, batch) -> schedule, as Keras' optimizers take it."""
    found = [_schedule_rates(function, run) for run in _RUNS_OF_FAULT]
    if _are_rates_of(found, lambda e, p, b: e * -(-p // b)):
        return
    if _are_rates_of(found, lambda e, p, b: e):
        raise NotDone(
            "this is still the faulty one: its rate is at zero after as many steps as there are "
            "epochs."
        )
    for count, text in _FAULT_STEPS:
        if _are_rates_of(found, count):
            raise Wrong(text)
    first, last = np.array(found)[:, 0], np.array(found)[:, -1]
    if not np.allclose(first, _STARTS, rtol=1e-3):
        raise Wrong(f"at step 0 the rate is {first[0]:.3g}. It should still begin at 0.1.")
    run = "rate at the end of a run of {} epochs, with {:,} pictures in batches of {},"
    where = next((i for i in (0, 1) if abs(last[i]) > 1e-6), None)
    if where is not None:
        raise Wrong(f"the {run.format(*_RUNS_OF_FAULT[where])} is {last[where]:.3g}, not 0.")
    raise Wrong("the rate begins at 0.1 and ends at 0, but between them it is not half a cosine.")


def _schedule_rates(function, run):
    """Return the rates of the reader's schedule at parts of a run, or raise Wrong."""
    schedule, steps = call(function, *run), _steps_of(run)
    if not callable(schedule):
        raise Wrong(
            f"your function returned {described(schedule)}. Expected: a schedule, such as "
            "keras.optimizers.schedules.CosineDecay(…)."
        )
    try:
        rates = [float(schedule(int(part * steps))) for part in _PARTS_OF_RUN]
    except Exception as error:
        raise Wrong(f"your schedule raised {error_told(error)}") from None
    return rates


def _steps_of(run):
    epochs, pictures, batch = run
    return epochs * -(-pictures // batch)


def _are_rates_of(found, count):
    """Say whether rates are those of half a cosine over as many steps as `count` says."""
    expected = [
        [
            _STARTS * (1 + np.cos(np.pi * min(int(part * _steps_of(run)) / count(*run), 1))) / 2
            for part in _PARTS_OF_RUN
        ]
        for run in _RUNS_OF_FAULT
    ]
    return np.allclose(found, expected, rtol=1e-4, atol=1e-8)


# 06-curves: what the losses of two runs ask for

REMEDIES = ("more epochs", "augmentation", "lower rate")
_A_WRONG = {
    "more epochs": "run A: its training loss is near 0, and its validation loss has risen for the "
    "last half of the run. What would more of the same bring?",
    "lower rate": "run A: a rate that is too high keeps the training loss up, or throws it about. "
    "Here the training loss is near 0.",
}
_B_WRONG = {
    "augmentation": "run B: nothing is learnt by heart: its validation loss is the lower of "
    "the two.",
    "lower rate": "run B: its losses come down smoothly, and at the end the rate is low already.",
}


def judge_curves(answer):
    """Judge what run A and what run B need: two of REMEDIES."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(f"received {described(answer)}. Expected: two texts, for run A and for run B.")
    for each in answer:
        if not isinstance(each, str) or each.strip().lower() not in REMEDIES:
            raise Wrong(f"received {described(each)}. Expected: one of {', '.join(REMEDIES)}.")
    first, second = (each.strip().lower() for each in answer)
    if (first, second) == ("more epochs", "augmentation"):
        raise Wrong("the two have changed places. Which run has the larger gap between its losses?")
    for chosen, wrong in ((first, _A_WRONG), (second, _B_WRONG)):
        if chosen in wrong:
            raise Wrong(wrong[chosen])


# 06-project: a recipe for a short run

EPOCHS, SMALLEST_BATCH, TARGET = 12, 16, 0.60


def judge_project(recipe):
    """Judge a recipe by the test accuracy of a ResNet-8 that it trains."""
    return judge_recipe(
        recipe,
        training.train,
        epochs=EPOCHS,
        batch=SMALLEST_BATCH,
        too_small=f"It must have {SMALLEST_BATCH} or more.",
        target=TARGET,
        advice=_advice,
    )


def _advice(recipe, run):
    """Say what in a recipe may keep a short run from its target."""
    steps = IMAGES // recipe.batch_size
    if steps < 30:
        return f"An epoch has {steps} full batches, and each is a step. Take more and smaller ones."
    return (
        f"The loss of the first epoch is {run.history['loss'][0]:.2f}, of the last "
        f"{run.history['loss'][-1]:.2f}. Try other peaks: half of yours, and twice as much."
    )


EXERCISES = {
    "06-crop": Exercise(
        judge_crop,
        level="easy",
        minutes=8,
        hints=(
            "`np.pad(picture, …)` takes a pair for each of the three axes: how much in front, how "
            "much behind. The colours get (0, 0).",
            "the window begins at `top` and is as high as the picture was before it was padded.",
            "padded[top : top + height, left : left + width] is the window; window[:, ::-1] is its "
            "mirror image.",
        ),
        why="a network that meets a picture in many places learns what does not depend on the "
        "place; that is worth several points of accuracy in a long run, and nothing in a short "
        "one.",
        stand_in=crop_and_flip,
    ),
    "06-steps": Exercise(
        judge_steps,
        level="easy",
        minutes=5,
        hints=(
            "a step is a batch. How many batches of 128 do the pictures make that this run trains "
            "on? What is left over at the end of an epoch is a batch, too.",
            "divide 64,000 and 32,000 by the steps of an epoch, and ask which way to round: an "
            "epoch that is begun is needed; the epoch under way is one more than those that are "
            "over.",
            "45,000 / 128, rounded up, is an epoch. 64,000 by that, rounded up, are the epochs. "
            "32,000 by that, rounded down, are over before the division; it happens in the next "
            "one.",
        ),
        why="steps and epochs are two clocks, and the size of the training set says how fast one "
        "runs by the other: with all 50,000 pictures the same epochs would be 11 % more steps.",
    ),
    "06-rate": Exercise(
        judge_rate,
        level="medium",
        minutes=10,
        hints=(
            "begin with `warm_up = steps / 10` and one `if`: the line before it, the cosine after "
            "it. Where are you on the line at `step`, as a part of the whole line?",
            "after the warm-up, let t go from 0 to 1 over the steps that are left; np.cos(np.pi * "
            "t) then goes from 1 to -1. Move and stretch that until it goes from PEAK to 0.",
            "the line is PEAK times the step, divided by the warm-up. t is the steps since the "
            "warm-up, divided by all that are left after it. A cosine with 1 added, halved, goes "
            "from 1 to 0.",
        ),
        why="the schedule is stretched to the run, so the rate reaches 0 where the run ends, "
        "however many steps you can afford; a run that is broken off early misses that end.",
        stand_in=rate,
    ),
    "06-decay": Exercise(
        judge_decay,
        level="medium",
        minutes=12,
        hints=(
            "write a table of gradient, v and w for two steps. The gradient of the decay is 0.2 w "
            "in the first meaning and 0.1 w in the second.",
            "second meaning: v = -0.01 and w = 0.99 after one step. Then v = 0.9 * -0.01 - 0.1 * "
            "0.1 * 0.99.",
            "third meaning: no v. Each step multiplies w by 1 - 0.1 * 0.1. First meaning: as the "
            "second, with 0.2 in place of the decay of 0.1.",
        ),
        why="a decay of 1e-4 that is copied from a PyTorch recipe into Keras' L2 is twice as "
        "strong, and into Keras' SGD(weight_decay=…) it is ten times weaker with momentum 0.9.",
    ),
    "06-loop": Exercise(
        judge_loop,
        level="hard",
        minutes=15,
        hints=(
            "inside `with tf.GradientTape() as tape:` stand the call of the model and the loss; "
            "what follows stands in the loop, but outside the `with`.",
            "tape.gradient(loss, model.trainable_variables) returns a list, one gradient for each "
            "variable, in their order: walk through both with `zip`.",
            "weight.assign_sub(rate * gradient) is the step. float(loss) goes into the list, and "
            "`return` stands behind the loop.",
        ),
        why="this is all that `fit` repeats; whoever can write it can change it: another loss, "
        "gradients that are clipped, a batch in two halves.",
        stand_in=train_epoch if _on_tensorflow() else _epoch_by_keras,
    ),
    "06-flip": Exercise(
        judge_flip,
        level="medium",
        minutes=8,
        hints=(
            "the axes are (pictures, height, width, colours). Which one leads from left to right?",
            "a step of -1 in a slice turns an axis round: [::-1] the first one. Call the model on "
            "the pictures and on the mirror images, then take the mean.",
            "the mirror images are the pictures with the third axis turned round, the first two "
            "as they are. Add the two outputs of the model, in inference mode, and divide the sum "
            "by 2; mind the parentheses.",
        ),
        why="the mean of two looks at a picture often beats one, and costs twice the time; an "
        "accuracy that was measured in this way must say so.",
        stand_in=both,
    ),
    "06-fault-schedule": Exercise(
        judge_fault_schedule,
        level="medium",
        minutes=8,
        hints=(
            "ask the schedule: what does it return for step 5, and for step 1,000?",
            "`decay_steps` counts the optimizer's steps, one for each batch. How many batches has "
            "an epoch, the last, smaller one included?",
            "steps = epochs * int(np.ceil(pictures / batch))",
        ),
        why="a rate of zero is no error to any program: the loss stands still, and one looks for "
        "the fault in the network.",
        stand_in=falling_rate,
    ),
    "06-curves": Exercise(
        judge_curves,
        level="easy",
        minutes=4,
        hints=(
            "look at the gap between training and validation at the end of each run, and at what "
            "the validation loss does in its second half.",
            "a run that overfits has a low training loss and a validation loss that rises. A run "
            "that lacks steps has two high losses, with no gap between them.",
            "in one of the two runs the training loss is a hundredth of the validation loss at the "
            "end; in the other they lie close together, and both still fall.",
        ),
        why="the same two curves tell what to try next in any training, and more epochs are only "
        "one of the remedies.",
    ),
    "06-project": Exercise(
        judge_project,
        level="medium",
        minutes=30,
        hints=(
            "how many steps are these epochs with batches of 128? A run needs some hundreds.",
            "what protects a network from learning its pictures by heart costs a short run its "
            "accuracy: augment=False, sizes=((1, 1),).",
            "with smaller batches, gradients are noisier: lower `peak` as well, and try half and "
            "double of what you have.",
        ),
        why="a recipe belongs to its length: what is best for fifteen epochs of 45,000 pictures is "
        "not what is best here.",
        seconds=120,
    ),
}
