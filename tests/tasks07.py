"""Answers to the exercises of notebook 07; see test_workshop.py."""

import math
import statistics

import numpy as np

# How far two accuracies lie apart


def apart_by_errors(p, q, pictures):
    one, other = (math.sqrt(a * (1 - a) / pictures) for a in (p, q))
    return abs(p - q) / math.hypot(one, other)


def apart_by_numpy(p, q, pictures):
    both = np.array([p, q])
    return np.abs(np.diff(both))[0] / np.sqrt((both - both**2).sum() / pictures)


def apart_by_statistics(p, q, pictures):
    deviations = [
        statistics.pstdev([0] * round(1e4 * (1 - a)) + [1] * round(1e4 * a)) for a in (p, q)
    ]
    return abs(p - q) * pictures**0.5 / sum(d * d for d in deviations) ** 0.5


def apart_pooled(p, q, pictures):
    mean = (p + q) / 2
    return abs(p - q) / math.sqrt(2 * mean * (1 - mean) / pictures)


def _error(p, n):
    return math.sqrt(p * (1 - p) / n)


def apart_wrong(divisor):
    return lambda p, q, n: abs(p - q) / divisor(p, q, n)


def both(p, q, n):
    return math.hypot(_error(p, n), _error(q, n))


APART_WRONG = [
    (apart_wrong(lambda p, q, n: both(p, q, n) ** 2), "the root is missing"),
    (apart_wrong(lambda p, q, n: _error(p, n)), "standard error of `p` alone"),
    (apart_wrong(lambda p, q, n: _error(q, n)), "standard error of `q` alone"),
    (apart_wrong(lambda p, q, n: _error(p, n) + _error(q, n)), "added as they are"),
    (apart_wrong(lambda p, q, n: (_error(p, n) + _error(q, n)) / 2), "the mean of the two"),
    (apart_wrong(lambda p, q, n: both(p, q, 1) / n), "outside the root"),
    (apart_wrong(lambda p, q, n: both(p, q, 1)), "number of pictures is missing"),
    (apart_wrong(lambda p, q, n: both(p, q, 2 * n)), "count twice over"),
    (both, "How many of them lie between"),
    (lambda p, q, n: abs(p - q), "the difference alone"),
    (lambda p, q, n: 100 * abs(p - q) / both(p, q, n), "in points"),
    (lambda p, q, n: (q - p) / both(p, q, n), "negative where `p`"),
    (lambda p, q, n: (p - q) / both(p, q, n), "whichever comes first"),
    (lambda p, q, n: 2.0, "Write down the two standard errors"),
    (lambda p, q, n: "far", "Expected: one number"),
    (lambda p, q, n: (p * (1 - p) - q * (1 + q)) ** 0.5, "root of a negative number"),
]


# A split by signer


def split_by_sets(signers, rng):
    everyone = sorted({int(signer) for signer in signers})
    drawn = set(rng.choice(everyone, len(everyone) // 5, replace=False).tolist())
    train = [place for place, signer in enumerate(signers) if signer not in drawn]
    return train, [place for place, signer in enumerate(signers) if signer in drawn]


def split_shuffled(signers, rng):
    unique, whose = np.unique(signers, return_inverse=True)
    rank = rng.permutation(len(unique))[whose]
    places = rng.permutation(len(signers))
    tested = rank[places] < len(unique) / 5
    return places[~tested], places[tested]


def split_faulty(signers, rng):
    places = rng.permutation(len(signers))
    fifth = len(signers) // 5
    return places[fifth:], places[:fifth]


def split_in_order(signers, rng):
    places = np.arange(len(signers))
    return places[len(signers) // 5 :], places[: len(signers) // 5]


def split_border_of_order(signers, rng):
    start = rng.choice(np.flatnonzero(np.diff(signers))[:40]) + 1
    stop = np.flatnonzero(np.append(np.diff(signers), 1))
    stop = stop[stop > start][11] + 1
    places = np.arange(len(signers))
    tested = (places >= start) & (places < stop)
    return places[~tested], places[tested]


def split_of_each_signer(signers, rng):
    tested = np.zeros(len(signers), bool)
    for signer in np.unique(signers):
        theirs = np.flatnonzero(signers == signer)
        tested[rng.choice(theirs, max(1, len(theirs) // 5), replace=False)] = True
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def split_masks(signers, rng):
    train, test = split_shuffled(signers, rng)
    places = np.arange(len(signers))
    return np.isin(places, train), np.isin(places, test)


def split_signers(signers, rng):
    everyone = rng.permutation(np.unique(signers))
    return everyone[len(everyone) // 5 :], everyone[: len(everyone) // 5]


def split_once_each(signers, rng):
    _, first = np.unique(signers, return_index=True)
    drawn = rng.permutation(first)
    return drawn[len(drawn) // 5 :], drawn[: len(drawn) // 5]


def split_exchanged(signers, rng):
    return split_shuffled(signers, rng)[::-1]


def split_half(signers, rng):
    everyone = rng.permutation(np.unique(signers))
    tested = np.isin(signers, everyone[: len(everyone) // 2])
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def split_the_last(signers, rng):
    everyone = np.unique(signers)
    tested = np.isin(signers, everyone[-(len(everyone) // 5) :])
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def split_by_chance(signers, rng):
    return split_shuffled(signers, np.random)


def split_dropping(signers, rng):
    train, test = split_shuffled(signers, rng)
    return train[: len(train) // 2], test


def split_training_with_all(signers, rng):
    return np.arange(len(signers)), split_shuffled(signers, rng)[1]


SPLIT_WRONG = [
    (split_in_order, "the border between the parts"),
    (split_border_of_order, "stand side by side"),
    (split_of_each_signer, "every signer is in both parts"),
    (split_masks, "True and False"),
    (split_signers, "those are signers, not places"),
    (split_once_each, "one picture of each signer"),
    (split_exchanged, "the parts are exchanged"),
    (split_half, "30 of 60 signers"),
    (split_the_last, "whatever `rng` is"),
    (split_by_chance, "something draws that is not"),
    (split_dropping, "are in neither part"),
    (split_training_with_all, "there twice"),
    (lambda signers, rng: (np.arange(len(signers)), []), "one part is empty"),
    (lambda signers, rng: split_shuffled(signers, rng)[0], "Expected: two arrays"),
    (lambda signers, rng: (signers / 2, signers / 3), "array of whole numbers"),
    (lambda signers, rng: ([0, 1], [-1]), "places go from 0"),
]

# Which would you ship

SHIP_WRONG = [
    (("second", "level", "level"), "the example's recipe has the lower accuracy"),
    (("level", "level", "level"), "more than ten standard errors"),
    (("first", "first", "level"), "validation pictures say the opposite"),
    (("first", "second", "level"), "the test pictures say the opposite"),
    (("first", "level", "first"), "3 of 156 pictures"),
    (("first", "level", "second"), "never been trained on a mirrored hand"),
    (("first", "neither", "level"), "Expected: one of first, second, level"),
    ("first", "Expected: three words"),
]

# A fair comparison


def way(*accuracies, cost=4.0, seeds=None):
    """Return results of a way: (seed, accuracy, CPU seconds) of each run."""
    seeds = range(len(accuracies)) if seeds is None else seeds
    return [(seed, a, cost) for seed, a in zip(seeds, accuracies, strict=True)]


GOOD, POOR, ALIKE = way(0.8, 0.82, 0.81), way(0.6, 0.63, 0.61), way(0.79, 0.83, 0.8)
PROJECT_RIGHT = [
    (GOOD, POOR, "first"),
    [np.array(POOR), GOOD, "Second"],
    (GOOD, ALIKE, "level"),
    (GOOD, way(0.77, 0.81, 0.78), "level"),
    (GOOD, way(0.77, 0.8, 0.78), "first"),
    (GOOD, way(0.6, 0.62, 0.64, 0.61, cost=3.5), "first"),
]
PROJECT_WRONG = [
    ((GOOD, POOR, "second"), "the first way has the higher mean"),
    ((GOOD, ALIKE, "first"), "less than two are easily chance"),
    ((GOOD, POOR, "level"), "Which way is better?"),
    ((GOOD, way(0.9, 0.91, 0.92, cost=8), "second"), "Give the cheaper one more epochs"),
    ((GOOD[:2], POOR, "first"), "three are the least"),
    ((GOOD, way(0.6, 0.6, 0.6, seeds=[0, 0, 0]), "first"), "a seed is there twice"),
    ((GOOD, GOOD, "level"), "the same way twice"),
    (([0.8, 0.82, 0.81], POOR, "first"), "holds numbers only"),
    ((way(80, 82, 81), POOR, "first"), "It goes from 0 to 1"),
    ((GOOD, POOR, True), "none of first, second, level"),
    ((GOOD, 0.6, "first"), "Expected: a list of"),
    (([(0, 0.8), (1, 0.8), (2, 0.8)], POOR, "first"), "the first way holds (0, 0.8)"),
    ((way(0.8, 0.82, 0.81, cost=0), POOR, "first"), "took no time"),
    ((GOOD, POOR), "and your conclusion"),
]

RIGHT = {
    "07-apart": [apart_by_errors, apart_by_numpy, apart_by_statistics, apart_pooled],
    "07-fault-split": [split_by_sets, split_shuffled],
    "07-ship": [("first", "level", "level"), [" First", "LEVEL", "level "]],
    "07-project": PROJECT_RIGHT,
}
WRONG = {
    "07-apart": APART_WRONG,
    "07-fault-split": SPLIT_WRONG,
    "07-ship": SHIP_WRONG,
    "07-project": PROJECT_WRONG,
}
STUBS = {
    "07-apart": lambda p, q, pictures: ...,
    "07-fault-split": split_faulty,
    "07-ship": (..., ..., ...),
    "07-project": (..., ..., ...),
}
SLOW = set()
