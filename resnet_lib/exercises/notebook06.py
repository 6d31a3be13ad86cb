"""The exercises of notebook 06, train for real."""

from functools import partial

import keras
import numpy as np
from keras import ops

from . import probes, watching
from .core import (
    NOTHING_RETURNED,
    Exercise,
    NotDone,
    Raised,
    Wrong,
    call,
    described,
    expect_numbers,
    is_number,
    judge_numbers,
    plain,
)

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


EXERCISES = {
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
}
