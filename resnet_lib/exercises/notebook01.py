"""The exercises of notebook 01, skip connections."""

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from . import probes
from .core import Exercise, Wrong, described, guarded, judge_number

# 01-residual

RESIDUAL = "branch + relu"
_NO_SKIP = (
    "`x` goes into the branch only, and is not added to what comes out. That is a plain layer: "
    "nothing passes it unchanged."
)
_MULTIPLIED = (
    "the skip is multiplied with the branch. A product is zero where the branch is zero; "
    "then `x` is lost, where a residual block should hand it on."
)
_RELU_FIRST = (
    "there is a ReLU on the branch before the addition. The branch could then only add to `x` and "
    "never take anything away. The branch comes to the addition as it is."
)
_RELU_ON_SKIP = (
    "a ReLU changes `x` before the addition. The skip must hand on `x` itself; the one ReLU acts "
    "on the sum."
)
_PREACTIVATED = (
    "the ReLU stands before the branch. That order exists, in notebook 04; here it acts on the sum."
)
_ADDED_TO_ITSELF = (
    "the branch's result is added to itself. Has `x` been overwritten by it? The skip is the `x` "
    "that came in."
)
_SUBTRACTED = "one of the two is subtracted. The branch is what must be added to `x`."
RESIDUAL_MISTAKES = {
    "branch": f"the result is the branch alone. {_NO_SKIP}",
    "branch relu": _NO_SKIP,
    "branch +": "there is no ReLU after the addition. It acts on the sum, last of all.",
    "branch relu +": f"{_RELU_FIRST} And after the addition no ReLU follows.",
    "branch relu + relu": _RELU_FIRST,
    "branch = +": _ADDED_TO_ITSELF,
    "branch = + relu": _ADDED_TO_ITSELF,
    "branch *": _MULTIPLIED,
    "branch * relu": _MULTIPLIED,
    "branch -": _SUBTRACTED,
    "branch - relu": _SUBTRACTED,
    "branch negative +": _SUBTRACTED,
    "branch negative + relu": _SUBTRACTED,
    "branch mean": "the two are averaged. Each skip would halve the signal: add, do not average.",
    "branch mean relu": "the two are averaged. Each skip would halve the signal: add them.",
    "relu branch +": _PREACTIVATED,
    "relu branch + relu": _PREACTIVATED,
    "relu = branch +": _RELU_ON_SKIP,
    "relu = branch + relu": _RELU_ON_SKIP,
    "skip-relu branch +": _RELU_ON_SKIP,
    "skip-relu branch + relu": _RELU_ON_SKIP,
    "skip-relu branch relu +": f"each of the two has its own ReLU: {_RELU_FIRST}",
    "+ branch": "`x` is added to itself before the branch. The skip leads around the branch.",
    "+ branch relu": "`x` is added to itself before the branch. The skip leads around the branch.",
}
_RESIDUAL_UNKNOWN = (
    "the output is not that of a residual block. First the branch, then the sum of both, then "
    "one ReLU."
)
_SHAPE = (4, 4, 3)


def judge_residual(function):
    """Judge a function (x, branch) -> relu(branch(x) + x)."""
    dense, calls = _branch(), []

    def branch(x):
        calls.append(isinstance(x, KerasTensor))
        return dense(x)

    model = probes.as_model(function, keras.Input(_SHAPE), branch)
    _judge_calls(calls)
    _judge_residual_shape(tuple(model.output.shape[1:]))
    _judge_parts(model, dense)
    x = _pictures()
    output = ops.convert_to_numpy(guarded(model, x, training=False))
    wrong = {**RESIDUAL_MISTAKES, **probes.other_activations(RESIDUAL)}
    probes.judge_output(
        output, RESIDUAL, wrong, _RESIDUAL_UNKNOWN, lambda line: follow_residual(line, x, dense)
    )
    _judge_training(model, dense, output)


def residual(x, branch):
    """Return the ReLU of branch and skip, which have the shape of `x`."""
    return layers.ReLU()(layers.Add()([branch(x), x]))


def _pictures():
    return np.random.default_rng(0).normal(scale=3, size=(2, *_SHAPE)).astype("float32")


def follow_residual(line, pictures, branch):
    """Compute the output of a line of steps such as RESIDUAL."""
    return probes.follow(line, pictures, branch=branch, negative=ops.negative)


def _branch():
    """A branch with fixed weights, built."""
    rng, channels = np.random.default_rng(1), _SHAPE[-1]
    dense = layers.Dense(channels)
    dense.build((None, *_SHAPE))
    dense.set_weights([rng.normal(size=(channels, channels)), rng.normal(size=channels)])
    return dense


def _judge_calls(calls):
    """Judge by a list with an entry for each call: whether it is one in the function itself."""
    if not calls:
        raise Wrong(
            "`branch` is never called: nothing is learned. It is a function; call it on `x`."
        )
    if sum(calls) > 1:  # In a layer of the reader's, Keras calls it as often as it likes.
        raise Wrong(
            f"`branch` is called {sum(calls)} times. One branch, one call: keep its result."
        )


def _judge_parts(model, dense):
    others = [type(part).__name__ for part in probes.owners(model) if part is not dense]
    if others:
        raise Wrong(
            f"your function adds layers with weights: {', '.join(others)}. The skip hands on `x` "
            "as it is, and all that is learned is in `branch`: skip and branch are added as they "
            "come."
        )


_SKIP_CUT = (
    "no gradient passes through the skip. Forwards the block is right, but the way back is what "
    "the skip is for: the gradient gets past each block unchanged. Is there a stop_gradient?"
)
_BRANCH_CUT = (
    "no gradient passes through the branch. Forwards the block is right, but the branch never "
    "learns, or hands nothing on to the blocks before. Is there a stop_gradient?"
)
RESIDUAL_CUTS = {
    "branch skip-cut + relu": _SKIP_CUT,
    "branch cut + relu": _BRANCH_CUT,
    "branch + cut relu": "no gradient passes through the block: whatever stands before it never "
    "learns. Is there a stop_gradient around the sum, or around what you return?",
}


def _judge_training(model, dense, output):
    """Judge what only differs in training, and the gradient."""
    if not probes.same(probes.training_output(model, _pictures()), output):
        raise Wrong(
            "in inference the block is right, in training it computes something else. Is there a "
            "layer that only acts in training?"
        )
    start = dense.get_weights()

    def changes(line):
        dense.set_weights(start)
        x = keras.Input(_SHAPE)
        return probes.changes(keras.Model(x, probes.drawn(line, x, branch=dense)))

    found = probes.changes(model)
    if not probes.same_changes(found, changes(RESIDUAL)):
        cuts = [
            text
            for line, text in RESIDUAL_CUTS.items()
            if probes.same_changes(found, changes(line))
        ]
        raise Wrong([*cuts, _OTHER_GRADIENT][0])


_OTHER_GRADIENT = (
    "forwards the block is right, but its gradient is another one than that of branch and skip. "
    "Does something stop or scale it?"
)


def _judge_residual_shape(shape):
    if shape == (*_SHAPE[:2], 2 * _SHAPE[2]):
        raise Wrong(
            f"input of shape {_SHAPE} became {shape}: branch and skip stand side by side, "
            "concatenated. In a residual block they are added, number by number."
        )
    if shape != _SHAPE:
        raise Wrong(
            f"input of shape {_SHAPE} became {shape}. A sum has the shape of its two parts."
        )


# 01-gradient

GRADIENTS = {
    -0.3: "That is the gradient of the branch alone: you forgot the path through the skip. (Or the "
    "product of both: y is a sum.)",
    1: "That is the gradient of the skip alone: you forgot the path through the branch.",
    0.3: "That is the branch's gradient without its sign, and without the path through the skip. "
    "(Or the product of both, without its sign: y is a sum.)",
    1.3: "The branch's gradient is negative: mind its sign.",
    -1.3: "The branch's gradient is negative, the skip's is not: what is dx/dx?",
    -0.7: "The size is right, the sign is not: which of the two paths is the stronger?",
    0: "The two paths do not cancel: dF/dx is not -1.",
}


def judge_gradient(answer):
    """Judge dy/dx of y = x + F(x) where dF/dx = -0.3."""
    otherwise = "y is a sum of two terms; its derivative is the sum of theirs, one for each path."
    judge_number(answer, 0.7, GRADIENTS, otherwise)


# 01-shapes

SHAPES = {
    "a": ((32, 32, 16), (32, 32, 16), True),
    "b": ((32, 32, 16), (16, 16, 32), False),
    "c": ((32, 32, 16), (32, 32, 1), False),
    "d": ((16, 16, 32), (16, 16, 16), False),
    "e": ((8, 8, 64), (8, 8, 64), True),
    "f": ((8, 8, 64), (1, 1, 64), False),
}
_BROADCAST = (
    "Keras adds these shapes without an error: it repeats the smaller one to fit. So the same "
    "values are added many times over, and that is no identity. A skip needs more than the "
    "absence of an error."
)
_NOT_ADDABLE = {
    "b": "Height, width and channels all differ: Keras' Add raises an error here.",
    "c": _BROADCAST,
    "d": "Height and width agree, the channels do not: Keras' Add raises an error here.",
    "f": _BROADCAST,
}


def judge_shapes(answer):
    """Judge the letters of the pairs that a skip can add."""
    letters = _letters(answer)
    for letter in sorted(letters):
        if letter in _NOT_ADDABLE:
            branch, skip, _ = SHAPES[letter]
            raise Wrong(f"pair {letter}, {branch} and {skip}. {_NOT_ADDABLE[letter]}")
    missing = sum(fits for *_, fits in SHAPES.values()) - len(letters)
    if missing:
        raise Wrong(
            f"received {described(answer)}. All that you name fit; still missing: {missing}. The "
            "size does not matter, nor whether it is early or late in the network."
        )


def _letters(answer):
    """Return the set of letters in an answer such as "ab", ("a", "b") or {"a", "b"}."""
    if isinstance(answer, str | tuple | list | set | frozenset):
        parts = answer.replace(",", "").replace(" ", "") if isinstance(answer, str) else answer
        if all(isinstance(part, str) and part in SHAPES for part in parts):
            return set(parts)
    example = '("x", "y")'
    raise Wrong(
        f"received {described(answer)}. Expected: the letters of the pairs, from "
        f"{min(SHAPES)} to {max(SHAPES)}, in a tuple such as {example}."
    )


EXERCISES = {
    "01-residual": Exercise(
        judge_residual,
        level="easy",
        minutes=5,
        hints=(
            "call `branch` on `x` and keep the result. What two things have to happen to it and "
            "to `x` then, and in which order?",
            "layers.Add() takes a list of two tensors: what the branch returned, and `x`. Then "
            "ask: what is the one thing that still has to happen to the sum?",
            "three lines: y is what `branch` makes of `x`; y becomes what layers.Add() makes of "
            "the list of y and `x`; what you return is layers.ReLU() called on that sum.",
        ),
        stand_in=residual,
        why="with a branch of zeros this block hands on `x`, but for its negative values: more "
        "layers need not make a network worse.",
    ),
    "01-gradient": Exercise(
        judge_gradient,
        level="easy",
        minutes=3,
        hints=(
            "y has two terms. Along how many paths does a change of x reach y?",
            "differentiate x and F(x) each, then add. What is the derivative of x with respect "
            "to x?",
            "dy/dx = dx/dx + dF/dx. The first is 1; the second is given, with its sign.",
        ),
        why="the skip adds 1 to every block's gradient, so the product over many blocks does not "
        "vanish only because the branches' gradients are small.",
    ),
    "01-shapes": Exercise(
        judge_shapes,
        level="medium",
        minutes=4,
        hints=(
            "in a skip each number of `x` meets exactly one number of the branch. What must hold "
            "of the two shapes?",
            "compare height, width and channels one by one. Beware of pairs that Keras adds "
            "nevertheless: it repeats an axis of length 1 until it fits.",
            "look for the pairs in which all three numbers agree. There are two.",
        ),
        why="Keras' Add also broadcasts, so a wrong skip can run without an error; compare the "
        "shapes yourself.",
    ),
}
