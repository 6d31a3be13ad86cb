"""How sure a network may be: honest probabilities, and pictures of none of its classes.

The temperature divides the logits; it leaves the order of the classes, so that accuracy stays as it
is. Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599), sections 2
and 4.2.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import cards, checks, tables

BINS = 15  # as in the paper
TEMPERATURES = (0.05, 20)  # between these it is looked for


class Bins(NamedTuple):
    """Pictures by how probable their most probable class is, in bins of equal width.

    Attributes:
        confidence: float array, the mean probability in each bin; nan in an empty one.
        accuracy: float array, the share in each bin that is right; nan in an empty one.
        count: int array, how many pictures are in each.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, from 0 to 1 (Guo et al. 2017, equation 5)."""
        gaps = np.abs(self.accuracy - self.confidence) * self.count
        return float(np.nansum(gaps) / self.count.sum())


def bins(probabilities: np.ndarray, labels: np.ndarray, number: int = BINS) -> Bins:
    """Return how often a network is right, by how sure it is.

    Args:
        probabilities: array (n, classes).
        labels: int array (n,).
        number: of bins, from 0 to 1.
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(sure * number).astype(int) - 1, 0, number - 1)
    count = np.bincount(places, minlength=number)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (np.bincount(places, x, number) / count for x in (sure, right))
    return Bins(confidence, accuracy, count)


def log_likelihood(scores: np.ndarray, labels: np.ndarray, temperature: float = 1) -> float:
    """Return the mean negative log likelihood of the labels, in nats."""
    scores = np.asarray(scores, float) / temperature
    most = scores.max(axis=1)
    totals = most + np.log(np.exp(scores - most[:, None]).sum(axis=1))
    return float(np.mean(totals - scores[np.arange(len(labels)), labels]))


def temperature(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the temperature with the least negative log likelihood.

    With 1/temperature the likelihood is convex, and least where the mean logit that is expected
    under the probabilities is the mean logit of the labels. That place is halved in on.

    Args:
        scores: array (n, classes), logits or logarithms of probabilities.
        labels: int array (n,).

    Returns:
        float from 0.05 to 20; None where the least possible is the best, as where all pictures are
        right: the surer the network were, the likelier they would be. 20 is next to no answer at
        all, and the best for a network that knows nothing.
    """
    scores = np.asarray(scores, float)
    scores = scores - scores.max(axis=1, keepdims=True)
    wanted = scores[np.arange(len(labels)), labels].mean()

    def is_too_low(value):
        powers = np.exp(scores / value)
        expected = (powers * scores).sum(axis=1) / powers.sum(axis=1)
        return expected.mean() > wanted

    low, high = np.log(TEMPERATURES)
    if not is_too_low(np.exp(low)):
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_low(np.exp(middle)) else (low, middle)
    return float(np.exp((low + high) / 2))


def threshold(familiar: np.ndarray, keep: float) -> float:
    """Return the largest value that at least a share `keep` of values reaches."""
    kept = math.ceil(keep * len(familiar) - 1e-9)  # 0.9 of 10 are 9, whatever the last bit says.
    return float(np.sort(familiar)[len(familiar) - kept])


def auroc(known: np.ndarray, others: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a known picture's value is the larger one.

    Of two pictures, one known and one not; a draw counts half. 0.5 is chance, 1 is perfect.
    """
    order = np.sort(others)
    below, upto = (np.searchsorted(order, known, side=side) for side in ("left", "right"))
    return float(np.mean((below + upto) / 2) / len(others))


@dataclass(repr=False)
class Calibration:
    """What `records.Run.calibrate` has found, and what it brings.

    Attributes:
        temperature: what the logits are divided by; 1 where the pictures do not tell.
        threshold: below this, a picture is "none of these".
        score: "energy" or "probability", what is held against the threshold.
        keep: the share of `fitted` pictures that the threshold keeps.
        fitted: on how many pictures both were found.
        measured: on how many pictures they were then tried.
        apart: whether those are others than the fitted ones.
        before, after: `Bins` of these, without and with the temperature.
        kept: the share of these that the threshold keeps.
        familiar: float array (measured,), the score of each of these.
        unfamiliar: float array, the score of each picture of none of the classes; None without.
        aurocs: {score: AUROC of the measured pictures against the others}; empty without.
        saved: the name of the file that holds it now; None: it is kept in the run alone.
    """

    temperature: float
    threshold: float
    score: str
    keep: float
    fitted: int
    measured: int
    apart: bool
    before: Bins
    after: Bins
    kept: float
    familiar: np.ndarray
    unfamiliar: np.ndarray | None
    aurocs: dict[str, float]
    saved: str | None = None

    @property
    def refused(self) -> float | None:
        """The share of the pictures of none of the classes that is told so; None without."""
        if self.unfamiliar is None:
            return None
        return float(np.mean(self.unfamiliar < self.threshold))

    def settings(self) -> dict[str, Any]:
        """Return what a card holds of it."""
        told = {
            "pictures": self.fitted,
            "keep": self.keep,
            "measured_on": self.measured,
            "measured_apart": self.apart,
            "calibration_error": [self.before.error, self.after.error],
            "kept": self.kept,
            "auroc": self.aurocs or None,
        }
        found = {name: getattr(self, name) for name in ("temperature", "threshold", "score")}
        return found | {"calibrated": told}

    def _rows(self):
        where = f"on {self.measured:,} pictures"
        where += " that it was not found on" if self.apart else ", the same that it was found on"
        rows = [
            ("temperature", f"{self.temperature:.3g}, found on {self.fitted:,} pictures"),
            (
                "calibration error",
                f"{self.before.error:.1%} before, {self.after.error:.1%} after, {where}",
            ),
            (
                "none of these",
                f"where {cards.SCORES[self.score]} is below {self.threshold:.3g}, which keeps "
                f"{self.keep:.0%} of the {self.fitted:,}, and {self.kept:.1%} {where}",
            ),
        ]
        if self.unfamiliar is not None:
            told = ", ".join(
                f"{value:.3f} by {cards.SCORES[name]}" for name, value in self.aurocs.items()
            )
            rows += [
                ("AUROC", f"{told}; 0.5 is chance, 1 is perfect"),
                (
                    "of the others",
                    f"{self.refused:.1%} of {len(self.unfamiliar):,} are told to be none; the rest "
                    "are taken for one of the classes",
                ),
            ]
        saved = self.saved or "the run alone, as long as this process lives"
        return [*rows, ("kept in", saved)]

    def __repr__(self):
        return tables.text(self._rows())

    def _repr_html_(self):
        return tables.html(self._rows())


class Scored(NamedTuple):
    """Pictures of known classes: scores (n, classes), labels (n,), familiarity {kind: (n,)}."""

    scores: np.ndarray
    labels: np.ndarray
    familiar: dict[str, np.ndarray]


def calibrate(
    fitted: Scored,
    measured: Scored | None = None,
    others: dict[str, np.ndarray] | None = None,
    *,
    score: str = "energy",
    keep: float = 0.95,
) -> Calibration:
    """Find temperature and threshold on some pictures, and try them on others.

    Args:
        fitted: pictures to find them on.
        measured: pictures to try them on; None: the same.
        others: the familiarity of pictures of none of the classes, as in `Scored`; None: without.
        score: what is held against the threshold, one of the kinds of familiarity.
        keep: the share of the fitted pictures that is to be kept.

    Raises:
        ValueError: if `keep` is not between 0 and 1, or there is no such kind of familiarity.
    """
    keep = checks.number("keep", keep, above=0, below=1)
    checks.choice("score", score, fitted.familiar)
    found = temperature(fitted.scores, fitted.labels)
    _warn_of_few(len(fitted.labels), found, keep)
    measured, apart = measured or fitted, measured is not None
    limit = threshold(fitted.familiar[score], keep)
    familiar = measured.familiar[score]
    sides = {kind: (its, others[kind]) for kind, its in measured.familiar.items()} if others else {}
    return Calibration(
        temperature=found or 1.0,
        threshold=limit,
        score=score,
        keep=keep,
        fitted=len(fitted.labels),
        measured=len(measured.labels),
        apart=apart,
        before=_bins_at(measured, 1),
        after=_bins_at(measured, found or 1),
        kept=float(np.mean(familiar >= limit)),
        familiar=familiar,
        unfamiliar=others[score] if others else None,
        aurocs={kind: auroc(*pair) for kind, pair in sides.items()},
    )


def _bins_at(scored, temperature):
    scores = np.asarray(scored.scores, float) / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return bins(powers / powers.sum(axis=1, keepdims=True), scored.labels)


def _warn_of_few(n, found, keep):
    if found is None:
        checks.warn(
            f"{n:,} pictures do not tell a temperature, for next to all of them are right: it "
            "stays 1."
        )
    if n * (1 - keep) < 1:
        checks.warn(
            f"{n:,} pictures are few for a threshold that keeps {keep:.0%}: it is the lowest value "
            "of all."
        )
