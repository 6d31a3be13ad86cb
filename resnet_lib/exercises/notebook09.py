"""The exercises of notebook 09, ten years later."""

from functools import partial
from itertools import pairwise

import keras
import numpy as np
from keras import layers

from .. import datasets, fast, recipes, training
from ..blocks import transformer_block
from ..training.network import with_preprocessing
from ..training.optimizers import NEWTON_SCHULZ
from .core import (
    Exercise,
    NotDone,
    Wrong,
    array,
    call,
    described,
    guarded,
    is_number,
    judge_number,
    numbers_meant,
    plain,
)
from .probes import as_model, same
from .recipeprobes import network_and_recipe, trained_accuracy, work_told

# 09-smooth: labels of which a share is spread over all classes

_LABELS = ((np.array([0, 2, 1, 2]), 4, 0.2), (np.array([1, 0, 1]), 3, 0.3))


def smoothed(labels, num_classes, share):
    """Return a row of probabilities for each label, a share of it spread over all classes."""
    return (1 - share) * np.eye(num_classes)[labels] + share / num_classes


def _rows(right, others):
    """Return a function (labels, classes, share) -> rows with these two numbers."""

    def rows(labels, classes, share):
        is_right = np.eye(classes)[labels] == 1
        return np.where(is_right, right(classes, share), others(classes, share))

    return rows


SMOOTH_MISTAKES = {
    "the share is spread over the wrong classes only, so that the right one has 1 - share. It is "
    "spread over all classes, the right one among them: 1 - share + share / num_classes.": _rows(
        lambda classes, share: 1 - share, lambda classes, share: share / (classes - 1)
    ),
    "the right class keeps all of its 1, and the others get something on top: a row adds up to "
    "more than 1. What is spread is taken away first.": _rows(
        lambda classes, share: 1, lambda classes, share: share / classes
    ),
    "each wrong class gets the whole share. It is divided among all classes.": _rows(
        lambda classes, share: 1 - share, lambda classes, share: share
    ),
    "each class gets the whole share on top of what is left. It is divided among all classes.": (
        _rows(lambda classes, share: 1, lambda classes, share: share)
    ),
    "the right class has 1 - share, the others share / num_classes each: a row adds up to less "
    "than 1. The right class is one of those over which the share is spread.": _rows(
        lambda classes, share: 1 - share, lambda classes, share: share / classes
    ),
    "nothing is spread: the rows are those of hard labels.": _rows(
        lambda classes, share: 1, lambda classes, share: 0
    ),
    "that is the part that is spread, alone. The labels are missing.": _rows(
        lambda classes, share: share / classes, lambda classes, share: share / classes
    ),
    "`share` and 1 - `share` have changed places: the share is what is spread.": _rows(
        lambda classes, share: share + (1 - share) / classes,
        lambda classes, share: (1 - share) / classes,
    ),
}


def judge_smooth(function):
    """Judge a function (labels, num_classes, share) -> smoothed labels, a row each."""
    for labels, classes, share in _LABELS:
        found = call(function, labels.copy(), classes, share)
        found = array(found, (len(labels), classes), "a row for each label, a number for a class")
        if np.allclose(found, smoothed(labels, classes, share)):
            continue
        for text, wrong in SMOOTH_MISTAKES.items():
            if np.allclose(found, wrong(labels, classes, share)):
                raise Wrong(text)
        raise Wrong(
            f"for label {labels[0]} of {classes} classes and a share of {share:g} your row is "
            f"{np.round(found[0], 3).tolist()}, which adds up to {found[0].sum():.3g}. Which part "
            "stays with the label, and what does each class get of the rest?"
        )


# 09-fault-flips: which pictures are mirrored in an epoch

_EPOCHS = range(6)


def flipped(first, epoch):
    """Return which pictures are mirrored in an epoch; `first` says it of epoch 0."""
    return first ^ (epoch % 2 == 1)


FLIP_MISTAKES = {
    "each epoch mirrors the same pictures as the first. Half of the pictures are never seen "
    "mirrored.": lambda first, epoch: first,
    "epoch 0 is already turned round. `first` says what it mirrors.": lambda first, epoch: (
        first ^ (epoch % 2 == 0)
    ),
    "after the first, each epoch mirrors the other half: epochs 1 and 2 are alike.": (
        lambda first, epoch: first ^ (epoch > 0)
    ),
    "two epochs in a row are alike before the pictures turn round.": lambda first, epoch: (
        first ^ (epoch // 2 % 2 == 1)
    ),
    "in every other epoch all pictures are mirrored, and in the others none: half of the pictures "
    "are to be mirrored in each.": lambda first, epoch: np.full(len(first), epoch % 2 == 1),
}


def judge_flips(function):
    """Judge a function (first, epoch) -> which pictures are mirrored in an epoch."""
    first = np.random.default_rng(5).random(40) < 0.5
    found = []
    for epoch in _EPOCHS:
        given = first.copy()
        answer = np.asarray(plain(call(function, given, epoch)))
        if answer.shape != first.shape or not np.isin(answer, (0, 1)).all():
            raise Wrong(
                "your function returned something else than a True or False for each picture."
            )
        if not np.array_equal(given, first):
            raise Wrong("your function changes `first`, and the next epoch begins with another.")
        found.append(answer.astype(bool))
    right = [flipped(first, epoch) for epoch in _EPOCHS]
    if np.array_equal(found, right):
        return
    drawn = [np.random.default_rng(epoch).random(len(first)) < 0.5 for epoch in _EPOCHS]
    if np.array_equal(found, drawn):
        raise NotDone(
            "this is still the faulty one: each epoch is drawn anew, so that a picture may come "
            "twice the same way."
        )
    for text, wrong in FLIP_MISTAKES.items():
        if np.array_equal(found, [wrong(first, epoch) for epoch in _EPOCHS]):
            raise Wrong(text)
    if not np.array_equal(found[0], first):
        raise Wrong("epoch 0 does not mirror what `first` says. Nothing is to be drawn.")
    apart = np.mean([np.mean(a != b) for a, b in pairwise(found)])
    raise Wrong(
        f"from one epoch to the next, {apart:.0%} of the pictures turn round. All of them should, "
        "each time, beginning with `first` in epoch 0."
    )


# 09-whiten: filters whose outputs are uncorrelated, and of variance 1

PATCHES, NUMBERS = 500, 6


def whitening(patches):
    """Return filters, one in each row, whose outputs for the patches have the covariance 1."""
    return _of_eigenvalues(-0.5)(patches)


def _covariance(outputs):
    return np.cov(outputs.T, bias=True)


def _of_eigenvalues(power):
    def filters(patches):
        values, vectors = np.linalg.eigh(_covariance(patches))
        return (vectors * values**power).T

    return filters


def _divided_across(patches):
    values, vectors = np.linalg.eigh(_covariance(patches))
    return vectors.T / np.sqrt(values)


WHITEN_MISTAKES = {
    "the outputs are uncorrelated, but have the variances of before: each eigenvector is to be "
    "divided by the root of its eigenvalue.": _of_eigenvalues(0),
    "the eigenvectors are divided by their eigenvalues, which are variances. Divide by the "
    "standard deviation, the root.": _of_eigenvalues(-1),
    "the eigenvectors are multiplied by the roots of their eigenvalues, so that large outputs "
    "become larger. Divide.": _of_eigenvalues(0.5),
    "the numbers of each filter are divided by different roots. An eigenvector is a column of the "
    "second result: divide before transposing, vectors / np.sqrt(values).": _divided_across,
    "each number of a patch is divided by its standard deviation, which leaves neighbours as "
    "correlated as they were.": lambda patches: np.diag(1 / patches.std(0)),
}
_UNCENTRED = (
    "the mean was not subtracted before the products were taken. That is a covariance only where "
    "the mean is 0, and here it is not. np.cov subtracts it."
)
_SOMETHING_ADDED = (
    "the outputs are uncorrelated, but the least of their variances is {:.3g}. Is something added "
    "to the eigenvalues? Here none is so small that it needs that."
)
_COLUMNS = (
    "the filters are the columns of your array. numpy.linalg.eigh returns eigenvectors as columns: "
    "transpose."
)
_SUM = (
    "the outputs are uncorrelated and of equal variance, but that is {:.3g}, not 1. Was the "
    "covariance divided by the number of patches?"
)


def judge_whiten(function):
    """Judge a function of patches, array (n, numbers), that returns whitening filters."""
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        mix = rng.normal(size=(NUMBERS, NUMBERS)) + np.eye(NUMBERS)
        patches = rng.normal(size=(PATCHES, NUMBERS)) @ mix + rng.normal(size=NUMBERS)
        found = call(function, patches.copy())
        shape = (NUMBERS, NUMBERS)
        filters = array(found, shape, f"{NUMBERS} filters of {NUMBERS} numbers")
        _judge_filters(filters, patches)


def _judge_filters(filters, patches):
    covariance = _covariance(patches @ filters.T)
    variances = np.diag(covariance)
    if np.allclose(covariance, np.eye(NUMBERS), atol=0.01):
        return
    if np.allclose(_covariance(patches @ filters), np.eye(NUMBERS), atol=0.01):
        raise Wrong(_COLUMNS)
    if np.allclose(covariance, variances.mean() * np.eye(NUMBERS), atol=0.01 * variances.mean()):
        raise Wrong(_SUM.format(variances.mean()))
    for text, wrong in WHITEN_MISTAKES.items():
        if _alike(filters, wrong(patches)):
            raise Wrong(text)
        if _alike(filters.T, wrong(patches)):
            raise Wrong(f"{text} And the filters are the columns of your array: transpose.")
    products = patches.T @ patches / len(patches)
    if np.allclose(filters @ products @ filters.T, np.eye(NUMBERS), atol=0.01):
        raise Wrong(_UNCENTRED)
    off = covariance - np.diag(variances)
    if np.abs(off).max() < 0.01 and variances.max() < 1.01:
        raise Wrong(_SOMETHING_ADDED.format(variances.min()))
    raise Wrong(
        f"the outputs' variances go from {variances.min():.3g} to {variances.max():.3g}, and the "
        f"largest covariance of two of them is {np.abs(off).max():.3g}. Wanted: 1 and 0. What "
        "does a covariance matrix become, if its eigenvectors are taken as filters?"
    )


def _alike(filters, others):
    """Say whether filters are others in any order and with any sign."""
    left = list(others)
    for row in filters:
        place = next((i for i, each in enumerate(left) if _same_but_for_sign(row, each)), None)
        if place is None:
            return False
        left.pop(place)
    return True


def _same_but_for_sign(row, other):
    return np.allclose(row, other, rtol=5e-3) or np.allclose(row, -other, rtol=5e-3)


# 09-orthogonal: the matrix near to another whose singular values are alike


def orthogonal(matrix, steps):
    """Return a matrix with the singular vectors of another, and singular values near 1."""
    return _newton_schulz(matrix, steps)


def _newton_schulz(matrix, steps, scale=np.linalg.norm, coefficients=NEWTON_SCHULZ, power=2):
    a, b, c = coefficients
    x = matrix / scale(matrix)
    for _ in range(steps):
        square = x @ x.T
        fourth = square**2 if power is None else np.linalg.matrix_power(square, power)
        x = a * x + (b * square + c * fourth) @ x
    return x


def _normed_each_time(matrix, steps):
    for _ in range(steps):
        matrix = _newton_schulz(matrix, 1)
    return matrix


def _squared_once(matrix, steps):
    a, b, c = NEWTON_SCHULZ
    x = matrix / np.linalg.norm(matrix)
    square = x @ x.T
    return np.linalg.matrix_power(a * np.eye(len(x)) + b * square + c * square @ square, steps) @ x


def _exact(matrix, steps):
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def _by_number(matrix, steps):
    a, b, c = NEWTON_SCHULZ
    x = matrix / np.linalg.norm(matrix)
    for _ in range(steps):
        x = a * x + b * x**3 + c * x**5
    return x


ORTHOGONAL_MISTAKES = {
    "the matrix is not divided by its norm before the first step. Singular values above about 1.26 "
    "run away.": partial(_newton_schulz, scale=lambda matrix: 1),
    "the matrix is divided by its largest singular value. Muon takes the root of the sum of all "
    "squares, np.linalg.norm(matrix), which is no smaller and costs nearly nothing.": partial(
        _newton_schulz, scale=lambda matrix: np.linalg.norm(matrix, 2)
    ),
    "the matrix is divided by its largest number, which bounds no singular value.": partial(
        _newton_schulz, scale=lambda matrix: np.abs(matrix).max()
    ),
    "b and c have changed places.": partial(
        _newton_schulz, coefficients=(NEWTON_SCHULZ[0], NEWTON_SCHULZ[2], NEWTON_SCHULZ[1])
    ),
    "the first term is missing, a times the matrix itself.": partial(
        _newton_schulz, coefficients=(0, *NEWTON_SCHULZ[1:])
    ),
    "the last term has X Xᵀ to the first power. It is squared: c (X Xᵀ)² X.": partial(
        _newton_schulz, power=1
    ),
    "that is the matrix of equal singular values, from a decomposition. The steps come near to it, "
    "and are what is asked for: they need products of matrices only.": _exact,
    "one step is missing.": lambda matrix, steps: _newton_schulz(matrix, steps - 1),
    "there is a step too many.": lambda matrix, steps: _newton_schulz(matrix, steps + 1),
    "X Xᵀ is squared number by number. (X Xᵀ)² is its product with itself: square @ square.": (
        partial(_newton_schulz, power=None)
    ),
    "X is divided by its norm before each step. Only before the first.": _normed_each_time,
    "X Xᵀ is taken once, before the first step. It changes with X, in each step.": _squared_once,
    "the squares are taken number by number. X Xᵀ is a product of matrices: X @ X.T.": _by_number,
    "nothing is done but the division by the norm.": lambda matrix, steps: _newton_schulz(
        matrix, 0
    ),
}


def judge_orthogonal(function):
    """Judge a function (matrix, steps) -> the matrix after steps of Newton and Schulz."""
    for shape, steps in (((4, 9), 3), ((6, 6), 1), ((3, 8), 5)):
        matrix = np.random.default_rng(steps).normal(size=shape)
        given = matrix.copy()
        found = array(call(function, given, steps), shape, "a matrix like the one given")
        if not np.array_equal(given, matrix):
            raise Wrong("your function changes the matrix that it is given. Make a new one.")
        if np.allclose(found, orthogonal(matrix, steps), rtol=1e-3, atol=1e-5):
            continue
        for text, wrong in ORTHOGONAL_MISTAKES.items():
            with np.errstate(all="ignore"):
                if np.allclose(found, wrong(matrix, steps), rtol=1e-3, atol=1e-5):
                    raise Wrong(text)
        raise Wrong(
            f"after {steps} steps, the result for a matrix of shape {shape} is another one. In "
            "each step, X becomes a X + b (X Xᵀ) X + c (X Xᵀ)² X; before the first, X is the "
            "matrix divided by its norm."
        )


# 09-squeeze: the parameters that squeeze-and-excitation adds to ResNet-20

_WIDTHS = (16, 32, 64)


def count_squeeze(reduction=16, blocks=3, layers=2, biases=0, widths=_WIDTHS):
    """Return the parameters that squeeze-and-excitation adds, as the parts of the rule have it."""
    return sum(
        blocks * (layers * width * (width // reduction) + biases * (width + width // reduction))
        for width in widths
    )


SQUEEZE_MISTAKES = (
    ("counts one block in each stage", "ResNet-20 has three.", {"blocks": 1}),
    ("counts one dense layer a block", "There are two: down, and up again.", {"layers": 1}),
    ("counts biases", "These layers have none.", {"biases": 1}),
    (
        "leaves out the reduction",
        "Between the two dense layers are a sixteenth of the channels.",
        {"reduction": 1},
    ),
    ("counts stage 3 only", "All three stages have such blocks.", {"widths": (64,)}),
    ("counts stage 1 only", "All three stages have such blocks.", {"widths": (16,)}),
)


def judge_squeeze(answer):
    """Judge the number of parameters that squeeze-and-excitation adds to ResNet-20."""
    whole = {274_490: "That is the whole network with these layers. Asked for is what they add."}
    judge_number(
        answer,
        count_squeeze(),
        whole | numbers_meant(count_squeeze, SQUEEZE_MISTAKES),
        "Take one block of C channels first: a dense layer from C to C/16 numbers, one back to C, "
        "both without biases. Then three blocks for each of 16, 32 and 64 channels.",
    )


# 09-grouped: the multiply-adds of a convolution in groups

_CONVOLUTIONS = ((8, 3, 16, 32, 4), (10, 1, 64, 8, 2), (5, 3, 12, 12, 12), (6, 5, 4, 8, 1))
GROUPED_MISTAKES = {
    "the groups are left out: each filter sees the channels of its group only.": (
        lambda side, kernel, channels, filters, groups: side**2 * kernel**2 * channels * filters
    ),
    "both the channels and the filters are divided by the groups. That is the cost of one group; "
    "there are as many as that.": lambda side, kernel, channels, filters, groups: (
        side**2 * kernel**2 * channels * filters / groups**2
    ),
    "the groups are multiplied instead of divided.": (
        lambda side, kernel, channels, filters, groups: (
            side**2 * kernel**2 * channels * filters * groups
        )
    ),
    "those are the kernel's parameters. Each is used once for each pixel of the output.": (
        lambda side, kernel, channels, filters, groups: kernel**2 * channels * filters / groups
    ),
    "`side` is taken once. The output has side x side pixels.": (
        lambda side, kernel, channels, filters, groups: (
            side * kernel**2 * channels * filters / groups
        )
    ),
    "`kernel` is taken once. The kernel has kernel x kernel pixels.": (
        lambda side, kernel, channels, filters, groups: (
            side**2 * kernel * channels * filters / groups
        )
    ),
    "a multiplication and its addition count as one: that is twice the number.": (
        lambda side, kernel, channels, filters, groups: (
            2 * side**2 * kernel**2 * channels * filters / groups
        )
    ),
    "the filters are left out.": lambda side, kernel, channels, filters, groups: (
        side**2 * kernel**2 * channels / groups
    ),
    "the channels are left out.": lambda side, kernel, channels, filters, groups: (
        side**2 * kernel**2 * filters / groups
    ),
}


def grouped(side, kernel, channels, filters, groups):
    """Return the multiply-adds of a convolution in groups, padded, without a stride."""
    return side**2 * kernel**2 * (channels // groups) * filters


def judge_grouped(function):
    """Judge a function (side, kernel, channels, filters, groups) -> multiply-adds."""
    for given in _CONVOLUTIONS:
        found = plain(call(function, *given))
        if not is_number(found):
            raise Wrong(f"your function returned {described(found)}. Expected: one number.")
        if np.isclose(found, grouped(*given), rtol=1e-9):
            continue
        for text, wrong in GROUPED_MISTAKES.items():
            if np.isclose(found, wrong(*given), rtol=1e-9):
                raise Wrong(text)
        raise Wrong(
            f"for (side, kernel, channels, filters, groups) = {given} your function returned "
            f"{described(found)}. Each of the side x side pixels of each filter is a sum over "
            "kernel x kernel pixels and the channels of one group."
        )


# 09-fault-norm: a transformer's block whose normalisations stand on the stream

_SIDE, _FILTERS = 4, 8
_BLOCK_NAME = "stage7_block5"
_FAULTY = (
    "this is still the faulty one: both normalisations stand behind the additions, on the stream."
)


def transformer(x, filters, name):
    """Return the output of the library's transformer block; it has the shape of `x`."""
    return transformer_block(x, filters, name=name)


def _norms_in_front(x, attend, dense, first, second):
    y = first(x)
    x = x + attend(y, y)
    return x + dense(second(x))


def _norms_behind(x, attend, dense, first, second):
    x = first(x + attend(x, x))
    return second(x + dense(x))


def _one_in_front(x, attend, dense, first, second):
    y = first(x)
    x = x + attend(y, y)
    return second(x + dense(x))


def _other_in_front(x, attend, dense, first, second):
    x = first(x + attend(x, x))
    return x + dense(second(x))


def _skips_normalised(x, attend, dense, first, second):
    x = first(x)
    x = x + attend(x, x)
    x = second(x)
    return x + dense(x)


def _raw_values(x, attend, dense, first, second):
    x = x + attend(first(x), x)
    return x + dense(second(x))


def _raw_queries(x, attend, dense, first, second):
    x = x + attend(x, first(x))
    return x + dense(second(x))


def _on_the_branch(x, attend, dense, first, second):
    x = x + first(attend(x, x))
    return x + second(dense(x))


def _past_the_first(x, attend, dense, first, second):
    y = first(x)
    return x + attend(y, y) + dense(second(x))


def _no_skips(x, attend, dense, first, second):
    y = first(x)
    return dense(second(attend(y, y)))


def _first_skip_normalised(x, attend, dense, first, second):
    y = first(x)
    x = y + attend(y, y)
    return x + dense(second(x))


def _second_skip_normalised(x, attend, dense, first, second):
    y = first(x)
    y = second(x + attend(y, y))
    return y + dense(y)


def _second_skip_alone(x, attend, dense, first, second):
    y = first(x)
    x = attend(y, y)
    return x + dense(second(x))


def _first_skip_alone(x, attend, dense, first, second):
    y = first(x)
    return dense(second(x + attend(y, y)))


NORM_MISTAKES = {
    "the attention's normalisation stands in front now, the other one still behind its addition, "
    "on the stream.": _one_in_front,
    "the normalisation of the dense layers stands in front now, the attention's still behind its "
    "addition, on the stream.": _other_in_front,
    "the normalisations come first, but the skips take what comes out of them. They take the raw "
    "stream: keep it in a variable of its own.": _skips_normalised,
    "the first skip takes the normalised pixels. It takes the raw stream.": _first_skip_normalised,
    "the second skip takes the normalised pixels. It takes the raw stream.": (
        _second_skip_normalised
    ),
    "the queries are normalised; keys and values are the raw stream. The attention takes the "
    "normalised pixels for all three: attention(y, y).": _raw_values,
    "keys and values are normalised; the queries are the raw stream. The attention takes the "
    "normalised pixels for all three: attention(y, y).": _raw_queries,
    "the normalisations stand at the ends of the branches. They come before attention and dense "
    "layers.": _on_the_branch,
    "the dense layers take the stream as it was before the attention was added. They take what the "
    "first addition has made of it.": _past_the_first,
    "nothing is added to the stream: both skips are missing.": _no_skips,
    "the first skip is missing: what the attention returns is not added to the stream.": (
        _second_skip_alone
    ),
    "the second skip is missing: what the dense layers return is not added to the stream.": (
        _first_skip_alone
    ),
}


def judge_norms(function):
    """Judge the repair of a transformer block (x, filters, name) with its norms behind."""
    model = as_model(function, keras.Input((_SIDE, _SIDE, _FILTERS)), _FILTERS, name=_BLOCK_NAME)
    if tuple(model.output.shape[1:]) != (_SIDE, _SIDE, _FILTERS):
        raise Wrong(
            f"pixels of shape {(_SIDE, _SIDE, _FILTERS)} become {tuple(model.output.shape[1:])}. "
            "A block keeps the shape of the stream."
        )
    attention, norms, dense = _parts(model)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(scale=0.5, size=weight.shape) for weight in model.weights])
    x = rng.normal(scale=2, size=(2, _SIDE, _SIDE, _FILTERS)).astype("float32")
    output = np.asarray(guarded(model, x, training=False))
    for first, second in (norms, norms[::-1]):

        def like(line, parts=(first, second)):
            return same(output, np.asarray(line(x, attention, dense, *parts)))

        if like(_norms_in_front):
            return
        if like(_norms_behind):
            raise NotDone(_FAULTY)
        for text, wrong in NORM_MISTAKES.items():
            if like(wrong):
                raise Wrong(text)
    raise Wrong(
        "the parts are right, but with the same weights the output is not that of the block. "
        "Compare, step by step: normalise, attend, add to the raw stream; normalise, two dense "
        "layers, add."
    )


def _parts(model):
    """Return attention, the two normalisations and the dense layers as one, or raise Wrong."""
    kinds = (layers.MultiHeadAttention, layers.LayerNormalization, layers.Dense)
    found = [layer for layer in model.layers if layer.weights]
    sorted_out = [[layer for layer in found if isinstance(layer, kind)] for kind in kinds]
    others = [each for each in found if not isinstance(each, kinds)]
    if [len(each) for each in sorted_out] != [1, 2, 2] or others:
        told = ", ".join(type(layer).__name__ for layer in found) or "none"
        raise Wrong(
            f"the layers with weights in your block are: {told}. Expected are those of the faulty "
            "block, in another order: one attention, two normalisations, two dense layers."
        )
    (attention,), norms, dense = sorted_out
    wide, narrow = sorted(dense, key=lambda layer: -layer.units)
    if (wide.units, narrow.units) != (4 * _FILTERS, _FILTERS):
        raise Wrong(
            f"the dense layers have {wide.units} and {narrow.units} units. Leave them as they "
            "were: 4 * filters, then filters."
        )
    config = attention.get_config()
    found = config["num_heads"], config["key_dim"], tuple(config["attention_axes"] or ())
    if found != (1, _FILTERS, (1, 2)):
        raise Wrong(
            f"the attention has num_heads={found[0]}, key_dim={found[1]} and attention_axes="
            f"{found[2] or None}. Leave it as it was: 1, filters and (1, 2)."
        )
    if wide.activation is not keras.activations.gelu:
        raise Wrong(
            "the first dense layer has another activation than GELU. Leave it as it was: "
            'activation="gelu".'
        )
    return attention, norms, lambda x: narrow(wide(x))


# 09-project: more than ResNet-20 learns, with the same work

PROJECT_PICTURES = 4000
PROJECT_WORK = 500e9
PROJECT_TARGET = 0.93


def coffee():
    """Return (network, recipe)."""
    network = fast.resnet_fast((32, 32, 3), 10, widths=(16, 32, 64))
    recipe = recipes.FAST.changed({"epochs": 15, "batch_size": 32, "flip": False})
    return network, recipe


def judge_project(function):
    """Judge a function () -> (network, recipe) by training it on the drawn shapes."""
    keras.utils.set_random_seed(1)
    model, recipe = network_and_recipe(call(function))
    told = work_told(model, recipe, PROJECT_PICTURES, most=PROJECT_WORK)
    data = datasets.shapes(train=PROJECT_PICTURES, validation=100, test=1000, seed=9)
    before = _accuracy_before(model, data, recipe)
    if before > 0.3:
        raise Wrong(
            f"your network is right for {before:.0%} of the test pictures before its training. "
            "Hand over a new one: what it has learnt before is work, too."
        )
    accuracy = trained_accuracy(training.train, model, recipe, data, seed=1)
    if accuracy < PROJECT_TARGET:
        raise Wrong(
            f"trained, your network is right for {accuracy:.1%} of the test pictures, with {told}. "
            f"Wanted: {PROJECT_TARGET:.0%}. {_advice(recipe)}"
        )
    return f"{accuracy:.1%} of the test pictures, with {told}."


def _accuracy_before(model, data, recipe):
    whole = guarded(with_preprocessing, model, data.train.images, recipe.normalize)
    found = np.argmax(whole.predict(data.test.images, verbose=0), axis=1)
    return np.mean(found == data.test.labels)


def _advice(recipe):
    """Say what may keep a network from its target."""
    steps = recipe.epochs * (PROJECT_PICTURES // recipe.batch_size)
    if steps < 300:
        return (
            f"The run has {steps} steps. Smaller batches make more of them from the same pictures, "
            "and so do more epochs of a cheaper network."
        )
    if recipe.optimizer != "muon":
        return "Which optimizer got furthest in a short run above?"
    return "Try half and double the peak, and other widths."


EXERCISES = {
    "09-smooth": Exercise(
        judge_smooth,
        level="easy",
        minutes=6,
        hints=(
            "begin with hard labels: np.eye(num_classes)[labels] has a row for each, with a single "
            "1.",
            "what remains of the 1 is 1 - share; and every class, the right one too, gets "
            "share / num_classes.",
            "one line: (1 - share) times the hard labels, plus share / num_classes.",
        ),
        why="a network that is never asked for a probability of 1 need not push its scores ever "
        "further apart, and its wrong labels cost less.",
        stand_in=smoothed,
    ),
    "09-fault-flips": Exercise(
        judge_flips,
        level="medium",
        minutes=8,
        hints=(
            "what must hold for two epochs in a row? `first` says what epoch 0 does, so nothing "
            "needs to be drawn.",
            "even epochs do as `first` says, odd ones the opposite: ~first.",
            "one line, which returns ~first if epoch % 2 is 1, and first otherwise.",
        ),
        why="within any two epochs each picture is seen both ways; where each epoch is drawn, half "
        "of the pictures come twice the same way.",
        stand_in=flipped,
    ),
    "09-whiten": Exercise(
        judge_whiten,
        level="hard",
        minutes=15,
        hints=(
            "take the covariance of the patches, np.cov(patches.T), and its eigenvectors, "
            "np.linalg.eigh: as filters, they give outputs that are uncorrelated.",
            "the variance of such an output is the eigenvalue. By what must the filter be divided, "
            "so that it becomes 1?",
            "two lines: values, vectors = np.linalg.eigh(the covariance); then the eigenvectors, "
            "which are columns, divided by the roots of the eigenvalues, and transposed.",
        ),
        why="neighbouring pixels say nearly the same; behind these filters, no output can be "
        "guessed from the others, and the first layer need not be trained at all.",
        stand_in=whitening,
    ),
    "09-orthogonal": Exercise(
        judge_orthogonal,
        level="hard",
        minutes=12,
        hints=(
            "write one step first: with `square = x @ x.T`, the three terms are a * x, "
            "b * square @ x and c * square @ square @ x.",
            "before the first step, x is the matrix divided by np.linalg.norm(matrix); then no "
            "singular value is above 1.",
            "five lines: the division; a loop of so many steps; in it `square`, and the sum of the "
            "three terms; the return.",
        ),
        why="a step of Muon moves a kernel as far along its weak directions as along its strong "
        "ones, for some products of matrices.",
        stand_in=orthogonal,
    ),
    "09-squeeze": Exercise(
        judge_squeeze,
        level="medium",
        minutes=6,
        hints=(
            "one block of C channels: a dense layer without biases from C to C/16 numbers has how "
            "many weights? And the one back?",
            "2 * C * (C / 16) for a block: 32 where C is 16. Then 32 and 64 channels, and three "
            "blocks in each stage.",
        ),
        why="the channels get a say in what they weigh for less than one hundredth of the "
        "network's parameters.",
    ),
    "09-grouped": Exercise(
        judge_grouped,
        level="medium",
        minutes=8,
        hints=(
            "count one number of the output: how many pixels of how many channels does it add up?",
            "a filter sees channels / groups channels, so one number of the output is a sum of "
            "kernel * kernel * channels / groups products.",
            "one line: side * side * filters numbers of the output, times that.",
        ),
        why="with g groups a layer has a g-th of its multiply-adds, so it may be wider for the "
        "same cost; with a group for each channel it is the depthwise convolution of ConvNeXt.",
        stand_in=grouped,
    ),
    "09-fault-norm": Exercise(
        judge_norms,
        level="hard",
        minutes=12,
        hints=(
            "compare with the pre-activated block of notebook 4: what comes first there, and what "
            "does the skip take?",
            "the first half: `y` is the normalised `x`; attention(y, y) is added to `x` itself. "
            "The second half goes the same way.",
            "y = norm of x; x = x + attention(y, y); y = other norm of x; two dense layers of y; "
            "return x + y. Nothing follows the last addition.",
        ),
        why="on a stream that nothing normalises, all of the gradient at the end is contained in "
        "that at the beginning, here as in pre-activated ResNets.",
        stand_in=transformer,
    ),
    "09-project": Exercise(
        judge_project,
        level="hard",
        minutes=40,
        hints=(
            "how much work is an epoch? rl.count_multiply_adds(network) is that of a picture, and "
            f"there are {PROJECT_PICTURES:,}. What fits into {PROJECT_WORK / 1e9:.0f} billion?",
            "rl.resnet_fast with narrower widths gets more epochs, and smaller batches more steps.",
            "widths=(16, 32, 64), and rl.recipes.FAST with fifteen epochs of batches of 32. What "
            "protects from learning pictures by heart costs a short run accuracy: flip=False.",
        ),
        why="ten years of changes, most of them to the training, are worth more than another "
        "epoch.",
        stand_in=coffee,
        seconds=240,
    ),
}
