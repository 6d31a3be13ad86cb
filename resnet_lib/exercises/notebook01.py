"""The exercises of notebook 01, skip connections."""

import functools
import math

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from . import graphprobes, probes
from .core import (
    Exercise,
    NotDone,
    Wrong,
    described,
    expect_number,
    guarded,
    judge_number,
    plain,
)

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
    letters = _letters(answer, SHAPES, "pairs")
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


def _letters(answer, known, what):
    """Return the set of letters in an answer such as "ab", ("a", "b") or {"a", "b"}."""
    if isinstance(answer, str | tuple | list | set | frozenset):
        parts = answer.replace(",", "").replace(" ", "") if isinstance(answer, str) else answer
        if all(isinstance(part, str) and part in known for part in parts):
            return set(parts)
    example = '("x", "y")'
    raise Wrong(
        f"received {described(answer)}. Expected: the letters of the {what}, from "
        f"{min(known)} to {max(known)}, in a tuple such as {example}."
    )


# 01-evidence: what the table of repeated trainings bears out

EVIDENCE = {
    "a": None,
    "b": "compare the three rates of SGD: which of them ends lowest? A rate that fits the first "
    "layers is too small for the others.",
    "c": "compare the two rows seed by seed. With one seed it is so, with two it is the other way "
    "round.",
    "d": None,
    "e": "two remedies that fail do not show that there is no such cause: neither of them changes "
    "the size of the gradients and nothing else.",
}


def judge_evidence(answer):
    """Judge the letters of the statements that the table bears out."""
    letters = _letters(answer, EVIDENCE, "statements")
    for letter in sorted(letters):
        if EVIDENCE[letter]:
            raise Wrong(f"statement {letter}: {EVIDENCE[letter]}")
    missing = sum(text is None for text in EVIDENCE.values()) - len(letters)
    if missing:
        raise Wrong(
            f"received {described(answer)}. All that you name is borne out; still missing: "
            f"{missing}. Compare seed by seed."
        )


# 01-he: the standard deviation of the weights that keeps the mean square

HE = math.sqrt(2 / (3 * 3 * 16))
_KERNEL = (
    "Each output is a sum over the whole kernel: 3 x 3 pixels of 16 channels. How many products "
    "are that?"
)
HE_MISTAKES = {
    math.sqrt(1 / 144): "That keeps the mean square without a ReLU. The ReLU halves it: the "
    "weights have to make up for that.",
    2 / 144: "That is the variance of the weights. Asked for is their standard deviation.",
    1 / 144: "That is a variance, and without the ReLU. Asked for is the standard deviation.",
    math.sqrt(2 / 16): _KERNEL,
    math.sqrt(2 / 9): _KERNEL,
    math.sqrt(1 / 16): f"{_KERNEL} And the ReLU halves the mean square.",
    math.sqrt(2 / 27): "That is right for the first layer, which gets 3 channels. Here come 16.",
    math.sqrt(4 / 144): "That doubles the mean square in each layer: half of it is lost, once.",
    math.sqrt(0.5 / 144): "That would halve the mean square once more. The weights have to make up "
    "for what the ReLU takes.",
}


def judge_he(answer):
    """Judge the standard deviation of he_normal's weights, rounded or not."""
    answer = plain(answer)
    expect_number(answer)
    near = [number for number in (HE, *HE_MISTAKES) if abs(answer - number) < 0.01 * number]
    if not near and abs(answer - HE) < 0.03 * HE:
        raise Wrong(
            f"received {described(answer)}. That is near, and rounded too far: three digits."
        )
    otherwise = (
        "With n products in a sum and weights of standard deviation s, the mean square becomes "
        "n * s * s times as large, and the ReLU halves it. Set the result to 1."
    )
    judge_number((near or [answer])[0], HE, HE_MISTAKES, otherwise)


# 01-fault-skip: the branch is added to itself

SKIP_PLANTED = "branch = + relu"
_STILL_FAULTY = (
    "this is still the faulty one: its gradients are those of a plain network. Which two tensors "
    "does it add?"
)


def judge_skip_fault(function):
    """Judge the repaired function (x, branch) -> relu(branch(x) + x)."""
    try:
        judge_residual(function)
    except Wrong as reason:
        if str(reason) == RESIDUAL_MISTAKES[SKIP_PLANTED]:
            raise NotDone(_STILL_FAULTY) from None
        raise


# 01-project: 38 layers without batch normalisation

PICTURE, DEPTH, TARGET = (16, 16, 3), 38, 0.7


def judge_project(model):
    """Judge a trained model by its depth, its layers and its accuracy on fresh pictures."""
    graphprobes.expect_model(model, PICTURE, (4,))
    parts = model._flatten_layers(include_self=False)
    norms = {type(part).__name__ for part in parts if "Normalization" in type(part).__name__}
    if norms - {"Normalization"}:
        raise Wrong(
            f"your model has layers that normalise: {', '.join(sorted(norms))}. Do without. What "
            "else keeps the branches of a deep network from adding up to something huge?"
        )
    depth = graphprobes.longest_path(model, lambda layer: hasattr(layer, "kernel"))
    if depth < DEPTH:
        raise Wrong(
            f"the number of layers with a kernel, one behind another, is {depth}. Expected: "
            f"{DEPTH} or more."
        )
    images, labels = fresh_pictures()
    output = np.asarray(guarded(model.predict, images, batch_size=200, verbose=0))
    if not np.isfinite(output).all():
        raise Wrong(
            "your model outputs values that are no numbers: its training blew up. Smaller "
            "branches at the start, or a lower rate?"
        )
    accuracy = np.mean(output.argmax(axis=-1) == labels)
    if accuracy < TARGET:
        raise Wrong(
            f"{depth} layers, {accuracy:.1%} of {len(labels):,} fresh pictures are right. Asked "
            f"for: {TARGET:.0%} or more. {_what_now(accuracy)}"
        )
    return f"{depth} layers, {accuracy:.1%} of {len(labels):,} fresh pictures are right."


def _what_now(accuracy):
    if accuracy < 0.35:
        return (
            "That is hardly better than guessing: has it been trained, on `images`, which are "
            "centred? Did its loss fall at all?"
        )
    return "It has begun to learn: another rate or optimizer, or more epochs?"


@functools.cache
def fresh_pictures():
    """Draw pictures that nobody has trained on: images as the notebook prepares them, labels."""
    from ..datasets.shapes import shapes

    split = shapes(train=1, validation=1, test=2500, seed=38).test
    few = split.labels < 4
    images = split.images[few].astype("float32") / 255
    images = images.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    return images - images.mean(axis=(1, 2), keepdims=True), split.labels[few]


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
    "01-he": Exercise(
        judge_he,
        level="medium",
        minutes=5,
        hints=(
            "how many weights has the kernel of one output channel? So many products are added.",
            "there are n = 3 * 3 * 16 products. The sum's mean square is n * s * s times that of "
            "an input, and the ReLU leaves half of it.",
            "n * s * s / 2 = 1, with n = 144. Solve for s.",
        ),
        why="this is what he_normal draws; with smaller weights a deep network's signal fades "
        "before anything is learnt, with larger ones it grows without bound.",
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
        why="the skip adds 1 to every block's gradient, so small gradients of the branches alone "
        "do not make the product over many blocks vanish.",
    ),
    "01-fault-skip": Exercise(
        judge_skip_fault,
        level="easy",
        minutes=5,
        hints=(
            "the gradients are those of a network without skips, so `x` does not get around the "
            "branch. Follow the name `x` through the three lines.",
            "after the first line, `x` is what the branch has made. What came in has no name any "
            "more.",
            "give the branch's result a name of its own, y, and add y and `x`.",
        ),
        stand_in=residual,
        why="a block without a skip that has an addition in it looks right in a summary and in a "
        "count of parameters; a measurement tells.",
    ),
    "01-evidence": Exercise(
        judge_evidence,
        level="medium",
        minutes=6,
        hints=(
            "take one statement at a time, and ask which two rows would have to differ, and how, "
            "for each seed.",
            "a statement is borne out if it holds for each of the three seeds, and if the two rows "
            "differ in nothing but what it speaks of.",
            "two statements are borne out, and both compare 8 with 38 layers.",
        ),
        why="a measured difference is evidence for a statement only if it could have come out the "
        "other way, and it has to be more than what another seed changes.",
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
    "01-project": Exercise(
        judge_project,
        level="hard",
        minutes=30,
        hints=(
            "without batch normalisation the branches add up to something huge. You know a start "
            "at which they add nothing: what did the zero gamma do, and which kernel could do it?",
            "let the last kernel of each branch start at zero, with he_normal in all others. Then "
            "look at the loss: SGD with a rate of 0.05 is too much for such a network.",
            'layers.Conv2D(16, 3, padding="same", kernel_initializer="zeros") ends each branch. '
            "Adam with a rate of 0.004 that falls to zero, pictures in batches of 50, and a first "
            "layer with strides=2, which makes every later one four times as fast.",
        ),
        why="a good start and a skip are enough to train deep networks; batch normalisation makes "
        "it easier, and is not what makes it possible.",
        seconds=60,
    ),
}
