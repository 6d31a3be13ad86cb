"""Figures of how sure a network is: reliability, and known and unknown pictures apart."""

from typing import Any

import numpy as np

from .cards import SCORES
from .figures import COLOURS, Figure, figure, label_axes, plain, styled


@styled
def reliability(calibration: Any, *, title: str = "") -> Figure:
    """Draw how often a network is right, by how sure it is, before and after calibration.

    Args:
        calibration: what `records.Run.calibrate` returns.
        title: a line over the figure.

    Returns:
        Figure with two axes, before and after. A bar stands at each bin of probability, as high as
        the share that is right; on the dotted line both are equal. The number of pictures of a bin
        is written on it.

    Source: Guo et al. 2017 (arXiv 1706.04599), figure 1.
    """
    sides = {"before": calibration.before, "after": calibration.after}
    errors = {name: its.error for name, its in sides.items()}
    fig, axes = figure(
        "Two bar charts, before and after calibration: the share of right answers in each bin of "
        "the probability of the answer, beside a dotted diagonal. Expected calibration error "
        f"{errors['before']:.1%} before, {errors['after']:.1%} after.",
        columns=2,
        size=(8, 3.4),
        sharey=True,
    )
    for ax, (name, bins) in zip(axes, sides.items(), strict=True):
        _draw_bins(ax, bins)
        ax.set_title(f"{name}: calibration error {bins.error:.1%}", fontsize=10)
    axes[0].set_ylabel("share that is right")
    axes[0].text(0.02, 0.3, "dotted:\nas sure as right", fontsize=8, va="bottom")
    fig.suptitle(plain(title or f"{calibration.measured:,} pictures"), fontsize=10)
    return fig


def _draw_bins(ax, bins):
    edges = np.linspace(0, 1, len(bins.count) + 1)
    full = bins.count > 0
    middles, width = (edges[:-1] + edges[1:])[full] / 2, 1 / len(bins.count)
    ax.bar(middles, bins.accuracy[full], 0.9 * width, color=COLOURS[0])
    ax.plot([0, 1], [0, 1], ":", color=COLOURS[6])
    for middle, share, count in zip(middles, bins.accuracy[full], bins.count[full], strict=True):
        ax.text(middle, share, str(count), ha="center", va="bottom", fontsize=7)
    ax.set(xlim=(0, 1), ylim=(0, 1.1))
    label_axes(ax, "probability of the answer", "", whole=False)


@styled
def familiarity(calibration: Any, *, title: str = "") -> Figure:
    """Draw the scores of known pictures and of pictures of none of the classes: how they overlap.

    Args:
        calibration: what `records.Run.calibrate` returns; called with `others=…`, it has both.
        title: a line over the figure.

    Returns:
        Figure: two histograms, each of the share of its pictures, and the threshold, left of which
        a picture is said to be "none of these".
    """
    known, others = calibration.familiar, calibration.unfamiliar
    score = SCORES[calibration.score]
    apart = "" if others is None else f", AUROC {calibration.aurocs[calibration.score]:.3f}"
    told = "" if others is None else f" Of the others, {calibration.refused:.1%} are below."
    fig, ax = figure(
        f"Histograms of {score} of {len(known):,} known pictures"
        f"{'' if others is None else f' and {len(others):,} others'}{apart}. "
        f"{calibration.kept:.1%} of the known ones are above the threshold.{told}",
        size=(7, 3),
    )
    groups = {"known classes": known} | ({} if others is None else {"none of them": others})
    edges = np.histogram_bin_edges(np.concatenate(list(groups.values())), 40)
    for number, (name, values) in enumerate(groups.items()):
        weights = np.full(len(values), 1 / len(values))
        style = {"alpha": 0.6, "color": COLOURS[number], "label": f"{name} ({len(values):,})"}
        ax.hist(values, edges, weights=weights, **style)
    ax.axvline(calibration.threshold, linestyle="--", color=COLOURS[6], label="threshold")
    label_axes(ax, score, "share of the pictures", whole=False)
    ax.legend()
    ax.set_title(plain(title or f"{score}{apart}"), fontsize=10)
    return fig
