"""Answers to the exercises of notebook 09; see test_workshop.py."""

import keras
import numpy as np
from keras import layers

from resnet_lib import cifar, fast, recipes, zoo

# Labels of which a share is spread


def smoothed_in_loops(labels, num_classes, share):
    rows = [[share / num_classes] * num_classes for _ in labels]
    for row, label in zip(rows, labels, strict=True):
        row[label] += 1 - share
    return rows


def smoothed_by_keras(labels, num_classes, share):
    hard = keras.ops.one_hot(labels, num_classes)
    return hard * (1 - share) + share / num_classes


def hard(labels, num_classes):
    return np.eye(num_classes)[labels]


def spread(right, others):
    """Return an answer with these two numbers in each row."""

    def answer(labels, num_classes, share):
        one = hard(labels, num_classes)
        return one * right(num_classes, share) + (1 - one) * others(num_classes, share)

    return answer


SMOOTH_WRONG = [
    (spread(lambda n, s: 1 - s, lambda n, s: s / (n - 1)), "over the wrong classes only"),
    (spread(lambda n, s: 1, lambda n, s: s / n), "keeps all of its 1"),
    (spread(lambda n, s: 1 - s, lambda n, s: s), "each wrong class gets the whole share"),
    (lambda labels, n, s: (1 - s) * hard(labels, n) + s, "gets the whole share on top"),
    (spread(lambda n, s: 1 - s, lambda n, s: s / n), "adds up to less than 1"),
    (lambda labels, n, s: hard(labels, n), "nothing is spread"),
    (lambda labels, n, s: np.full((len(labels), n), s / n), "The labels are missing"),
    (lambda labels, n, s: smoothed_in_loops(labels, n, 1 - s), "have changed places"),
    (lambda labels, n, s: smoothed_in_loops(labels, n, s / 2), "Which part stays with the label"),
    (lambda labels, n, s: hard(labels, n)[0], "a row for each label"),
    (lambda labels, n, s: "smooth", "a row for each label, a number for a class."),
]

# Flips that alternate


def flips_drawn(first, epoch):
    rng = np.random.default_rng(epoch)
    return rng.random(len(first)) < 0.5


def flips_in_words(first, epoch):
    return ~first if epoch % 2 else first


def flips_one_by_one(first, epoch):
    return [bool((mirrored + epoch) % 2) for mirrored in first]


def flips_in_place(first, epoch):
    if epoch % 2:
        np.logical_not(first, out=first)
    return first


def flips_drawn_once(first, epoch):
    once = np.random.default_rng(0).random(len(first)) < 0.5
    return ~once if epoch % 2 else once


FLIPS_WRONG = [
    (lambda first, epoch: first, "the same pictures as the first"),
    (lambda first, epoch: first ^ (epoch % 2 == 0), "epoch 0 is already turned round"),
    (lambda first, epoch: ~first if epoch else first, "epochs 1 and 2 are alike"),
    (lambda first, epoch: first ^ bool(epoch // 2 % 2), "two epochs in a row are alike"),
    (lambda first, epoch: np.full(len(first), bool(epoch % 2)), "in every other epoch all"),
    (flips_in_place, "changes `first`"),
    (flips_drawn_once, "does not mirror what `first` says"),
    (lambda first, epoch: np.roll(first, epoch), "of the pictures turn round"),
    (lambda first, epoch: epoch % 2 == 1, "a True or False for each picture"),
]

# Whitened patches


def eigen(patches):
    return np.linalg.eigh(np.cov(patches.T))


def whitened_by_scale(patches):
    values, vectors = eigen(patches)
    return np.diag(values**-0.5) @ vectors.T


def whitened_turned_back(patches):
    values, vectors = eigen(patches)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def whitened_by_cholesky(patches):
    return np.linalg.inv(np.linalg.cholesky(np.cov(patches.T)))


def whitened_by_svd(patches):
    _, sizes, rows = np.linalg.svd(patches - patches.mean(0), full_matrices=False)
    return rows / sizes[:, np.newaxis] * len(patches) ** 0.5


def scaled_by(power):
    def answer(patches):
        values, vectors = eigen(patches)
        return (vectors * values**power).T

    return answer


def whitened_uncentred(patches):
    values, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    return (vectors / values**0.5).T


def whitened_by_sums(patches):
    centred = patches - patches.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return (vectors / values**0.5).T


def whitened_by_rows(patches):
    values, vectors = eigen(patches)
    return vectors / values[:, np.newaxis] ** 0.5


def whitened_across(patches):
    values, vectors = eigen(patches)
    return vectors.T / values**0.5


def whitened_with_floor(patches):
    values, vectors = eigen(patches)
    return (vectors / (values + 0.1) ** 0.5).T


def whitened_partly(patches):
    values, vectors = eigen(patches)
    return (vectors / np.maximum(values, 1) ** 0.5 * 2).T + 0.1


WHITEN_WRONG = [
    (scaled_by(0), "have the variances of before"),
    (scaled_by(-1), "divided by their eigenvalues"),
    (scaled_by(0.5), "multiplied by the roots"),
    (lambda patches: np.diag(1 / patches.std(0)), "leaves neighbours as correlated"),
    (lambda patches: whitened_by_scale(patches).T, "filters are the columns"),
    (whitened_uncentred, "a covariance only where the mean is 0"),
    (whitened_by_sums, "Was the covariance divided"),
    (whitened_by_rows, "the columns of your array: transpose"),
    (whitened_across, "divided by different roots"),
    (whitened_with_floor, "Is something added to the eigenvalues"),
    (whitened_partly, "if its eigenvectors are taken as filters"),
    (lambda patches: patches @ whitened_by_scale(patches).T, "your function returned an array of"),
]

# The matrix of singular values near 1

A, B, C = 3.4445, -4.7750, 2.0315


def orthogonal_from_the_right(matrix, steps):
    x = matrix / np.sqrt((matrix**2).sum())
    for _ in range(steps):
        square = x.T @ x
        x = x @ (A * np.eye(len(square)) + B * square + C * np.linalg.matrix_power(square, 2))
    return x


def orthogonal_by_values(matrix, steps):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(steps):
        values = A * values + B * values**3 + C * values**5
    return left * values @ right


def steps_of(scale=np.linalg.norm, a=A, b=B, c=C, power=2):
    def answer(matrix, steps):
        x = matrix / scale(matrix)
        for _ in range(steps):
            square = x @ x.T
            x = a * x + b * square @ x + c * np.linalg.matrix_power(square, power) @ x
        return x

    return answer


def orthogonal_exactly(matrix, steps):
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def orthogonal_by_number(matrix, steps):
    x = matrix / np.linalg.norm(matrix)
    for _ in range(steps):
        x = A * x + B * x**3 + C * x**5
    return x


def orthogonal_in_place(matrix, steps):
    matrix /= np.linalg.norm(matrix)
    return orthogonal_by_values(matrix, steps)


def orthogonal_of_squares(matrix, steps):
    x = matrix / np.linalg.norm(matrix)
    for _ in range(steps):
        square = x @ x.T
        x = A * x + B * square @ x + C * square**2 @ x
    return x


def orthogonal_normed_again(matrix, steps):
    x = matrix
    for _ in range(steps):
        x = x / np.linalg.norm(x)
        x = A * x + B * x @ x.T @ x + C * x @ x.T @ x @ x.T @ x
    return x


def orthogonal_of_one_square(matrix, steps):
    x = matrix / np.linalg.norm(matrix)
    square = x @ x.T
    for _ in range(steps):
        x = A * x + B * square @ x + C * square @ square @ x
    return x


ORTHOGONAL_WRONG = [
    (steps_of(scale=lambda matrix: 1), "not divided by its norm"),
    (steps_of(scale=lambda matrix: np.linalg.norm(matrix, 2)), "largest singular value"),
    (steps_of(scale=lambda matrix: np.abs(matrix).max()), "bounds no singular value"),
    (steps_of(b=C, c=B), "b and c have changed places"),
    (steps_of(a=0), "the first term is missing"),
    (steps_of(power=1), "to the first power"),
    (orthogonal_exactly, "from a decomposition"),
    (lambda matrix, steps: orthogonal_by_values(matrix, steps - 1), "one step is missing"),
    (lambda matrix, steps: orthogonal_by_values(matrix, steps + 1), "a step too many"),
    (orthogonal_by_number, "the squares are taken number by number"),
    (orthogonal_of_squares, "X Xᵀ is squared number by number"),
    (orthogonal_normed_again, "before each step"),
    (orthogonal_of_one_square, "X Xᵀ is taken once"),
    (lambda matrix, steps: matrix / np.linalg.norm(matrix), "nothing is done but the division"),
    (orthogonal_in_place, "changes the matrix"),
    (lambda matrix, steps: matrix.T, "like the one given"),
    (lambda matrix, steps: -matrix, "is another one"),
]

# A convolution in groups


def grouped_by_group(side, kernel, channels, filters, groups):
    one = side**2 * kernel**2 * (channels // groups) * (filters // groups)
    return groups * one


def grouped_by_division(side, kernel, channels, filters, groups):
    return side * side * kernel * kernel * channels * filters / groups


GROUPED_WRONG = [
    (lambda s, k, c, f, g: s**2 * k**2 * c * f, "the groups are left out"),
    (lambda s, k, c, f, g: s**2 * k**2 * c * f / g**2, "the cost of one group"),
    (lambda s, k, c, f, g: s**2 * k**2 * c * f * g, "multiplied instead of divided"),
    (lambda s, k, c, f, g: k**2 * c * f / g, "the kernel's parameters"),
    (lambda s, k, c, f, g: s * k**2 * c * f / g, "`side` is taken once"),
    (lambda s, k, c, f, g: s**2 * k * c * f / g, "`kernel` is taken once"),
    (lambda s, k, c, f, g: s**2 * k**2 * c / g, "the filters are left out"),
    (lambda s, k, c, f, g: s**2 * k**2 * f / g, "the channels are left out"),
    (lambda s, k, c, f, g: 2 * grouped_by_group(s, k, c, f, g), "count as one"),
    (lambda s, k, c, f, g: 3 * grouped_by_group(s, k, c, f, g), "the channels of one group"),
    (lambda s, k, c, f, g: "many", "Expected: one number"),
]

# A transformer's block


class Parts:
    """The layers of a block, each made when it is first used."""

    def __init__(self, filters, name):
        self.attention = layers.MultiHeadAttention(
            1, filters, attention_axes=(1, 2), name=f"{name}_attention"
        )
        self.norm1, self.norm2 = (
            layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm{i}") for i in (1, 2)
        )
        self.wide = layers.Dense(4 * filters, activation="gelu", name=f"{name}_dense1")
        self.narrow = layers.Dense(filters, name=f"{name}_dense2")

    def attend(self, y):
        return self.attention(y, y)

    def dense(self, y):
        return self.narrow(self.wide(y))


def block_of(line):
    """Return an answer that sends the stream through a function of (x, parts)."""

    def answer(x, filters, name):
        return line(x, Parts(filters, name))

    return answer


def right_way(x, parts):
    x = x + parts.attend(parts.norm1(x))
    return x + parts.dense(parts.norm2(x))


def right_with_add(x, filters, name):
    parts = Parts(filters, name)
    x = layers.Add(name=f"{name}_add1")([x, parts.attend(parts.norm2(x))])
    return layers.Add(name=f"{name}_add2")([x, parts.dense(parts.norm1(x))])


def behind(x, parts):
    x = parts.norm1(x + parts.attend(x))
    return parts.norm2(x + parts.dense(x))


def attention_in_front(x, parts):
    x = x + parts.attend(parts.norm1(x))
    return parts.norm2(x + parts.dense(x))


def dense_in_front(x, parts):
    x = parts.norm1(x + parts.attend(x))
    return x + parts.dense(parts.norm2(x))


def skips_normalised(x, parts):
    x = parts.norm1(x)
    x = parts.norm2(x + parts.attend(x))
    return x + parts.dense(x)


def raw_values(x, parts):
    x = x + parts.attention(parts.norm1(x), x)
    return x + parts.dense(parts.norm2(x))


def raw_queries(x, parts):
    x = x + parts.attention(x, parts.norm1(x))
    return x + parts.dense(parts.norm2(x))


def ends_of_branches(x, parts):
    x = x + parts.norm1(parts.attend(x))
    return x + parts.norm2(parts.dense(x))


def side_by_side(x, parts):
    return x + parts.attend(parts.norm1(x)) + parts.dense(parts.norm2(x))


def no_skips(x, parts):
    return parts.dense(parts.norm2(parts.attend(parts.norm1(x))))


def one_skip(x, parts):
    return parts.dense(parts.norm2(x + parts.attend(parts.norm1(x))))


def first_skip_normalised(x, parts):
    y = parts.norm1(x)
    x = y + parts.attend(y)
    return x + parts.dense(parts.norm2(x))


def second_skip_normalised(x, parts):
    y = parts.norm2(x + parts.attend(parts.norm1(x)))
    return y + parts.dense(y)


def attention_alone(x, parts):
    x = parts.attend(parts.norm1(x))
    return x + parts.dense(parts.norm2(x))


def of_two_heads(x, filters, name):
    parts = Parts(filters, name)
    parts.attention = layers.MultiHeadAttention(2, filters, attention_axes=(1, 2))
    return right_way(x, parts)


def with_relu(x, filters, name):
    parts = Parts(filters, name)
    parts.wide = layers.Dense(4 * filters, activation="relu", name=f"{name}_dense1")
    return right_way(x, parts)


def third_norm(x, parts):
    return layers.LayerNormalization(name="third")(right_way(x, parts))


def other_order(x, parts):
    x = x + parts.dense(parts.norm1(x))
    return x + parts.attend(parts.norm2(x))


def of_other_width(x, filters, name):
    parts = Parts(filters, name)
    parts.wide = layers.Dense(2 * filters, activation="gelu", name=f"{name}_dense1")
    return right_way(x, parts)


NORMS_WRONG = [
    (block_of(attention_in_front), "the other one still behind"),
    (block_of(dense_in_front), "the attention's still behind"),
    (block_of(skips_normalised), "the skips take what comes out"),
    (block_of(raw_values), "keys and values are the raw stream"),
    (block_of(raw_queries), "the queries are the raw stream"),
    (block_of(first_skip_normalised), "the first skip takes the normalised"),
    (block_of(second_skip_normalised), "the second skip takes the normalised"),
    (block_of(attention_alone), "the first skip is missing"),
    (of_two_heads, "num_heads=2"),
    (with_relu, "another activation than GELU"),
    (block_of(ends_of_branches), "at the ends of the branches"),
    (block_of(side_by_side), "before the attention was added"),
    (block_of(no_skips), "both skips are missing"),
    (block_of(one_skip), "the second skip is missing"),
    (block_of(third_norm), "one attention, two normalisations"),
    (block_of(other_order), "Compare, step by step"),
    (of_other_width, "have 16 and 8 units"),
    (lambda x, filters, name: layers.Dense(3)(x), "A block keeps the shape"),
]

# More than ResNet-20 learns


def narrow(**changes):
    """Return an answer: a narrow fast network and a recipe with changes."""

    def answer():
        network = fast.resnet_fast((32, 32, 3), 10, widths=(16, 32, 64))
        fields = {"epochs": 15, "batch_size": 32, "flip": False} | changes
        return network, recipes.FAST.changed(fields)

    return answer


def trained_already():
    network = cifar.resnet_v1((32, 32, 3), 20, form="standard")
    learnt = zoo.load_trained("resnet20v1-shapes").get_weights()
    network.set_weights(learnt[-len(network.weights) :])
    return network, recipes.ONE_CYCLE.changed({"epochs": 1})


PROJECT_WRONG = [
    (narrow(epochs=60), "that is too much work"),
    (narrow(epochs=1), "Smaller batches make more of them"),
    (narrow(epochs=3, optimizer="sgd", other_rate=None, peak=0.1), "Which optimizer got furthest"),
    (lambda: narrow()()[0], "a network alone"),
    (lambda: (1, 2), "Expected: (network, recipe)"),
    (trained_already, "before its training"),
]

RIGHT = {
    "09-smooth": [smoothed_in_loops, smoothed_by_keras],
    "09-fault-flips": [flips_in_words, flips_one_by_one],
    "09-whiten": [whitened_by_scale, whitened_turned_back, whitened_by_cholesky, whitened_by_svd],
    "09-orthogonal": [orthogonal_from_the_right, orthogonal_by_values, steps_of()],
    "09-squeeze": [2016, np.int64(2016)],
    "09-grouped": [grouped_by_group, grouped_by_division],
    "09-fault-norm": [block_of(right_way), right_with_add],
    "09-project": [narrow(), lambda: narrow(epochs=12)()[::-1]],
}
WRONG = {
    "09-smooth": SMOOTH_WRONG,
    "09-fault-flips": FLIPS_WRONG,
    "09-whiten": WHITEN_WRONG,
    "09-orthogonal": ORTHOGONAL_WRONG,
    "09-squeeze": [
        (672, "counts one block in each stage"),
        (1008, "one dense layer"),
        (2373, "counts biases"),
        (32256, "leaves out the reduction"),
        (1536, "stage 3 only"),
        (274_490, "That is the whole network"),
        (7, "Take one block of C channels first"),
        ("many", "where one number is expected"),
    ],
    "09-grouped": GROUPED_WRONG,
    "09-fault-norm": NORMS_WRONG,
    "09-project": PROJECT_WRONG,
}
STUBS = {
    "09-smooth": lambda labels, num_classes, share: ...,
    "09-fault-flips": flips_drawn,
    "09-whiten": lambda patches: ...,
    "09-orthogonal": lambda matrix, steps: ...,
    "09-grouped": lambda side, kernel, channels, filters, groups: ...,
    "09-fault-norm": block_of(behind),
    "09-project": lambda: ...,
}
SLOW = {"09-project"}
