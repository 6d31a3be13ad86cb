"""Learning-rate schedules, each a plain function."""

import math

from . import checks

ANNEALS = ("linear", "cosine")


def example(epoch: float) -> float:
    """Learning rate of the widely copied Keras example: 1e-3 in steps down to 5e-7.

    Args:
        epoch: zero-based number of the epoch, of 200.

    Returns:
        float: 1e-3 up to epoch 80, 1e-4 up to 120, 1e-5 up to 160, 1e-6 up to 180, then 5e-7.

    Raises:
        ValueError: if `epoch` is not a number of at least 0.

    Source: the Keras example cifar10_resnet.py, `lr_schedule`.
    """
    checks.number("epoch", epoch)
    for after, factor in ((180, 0.5e-3), (160, 1e-3), (120, 1e-2), (80, 1e-1)):
        if epoch > after:
            return 1e-3 * factor
    return 1e-3


def paper(iteration: float, *, warmup: float = 0) -> float:
    """Learning rate of the ResNet paper on CIFAR-10: 0.1, divided by 10 at 32k and 48k.

    Args:
        iteration: zero-based number of the step, of 64,000 with 128 images each.
        warmup: steps at 0.01 before it starts at 0.1; about 400 for depth 110.

    Returns:
        float.

    Raises:
        ValueError: if an argument is not a number of at least 0.

    Source: He et al. 2015 (arXiv 1512.03385), section 4.2.
    """
    if checks.number("iteration", iteration) < checks.number("warmup", warmup):
        return 0.01
    return 0.1 / 10 ** ((iteration >= 32_000) + (iteration >= 48_000))


def one_cycle(
    step: float,
    total_steps: float,
    *,
    peak: float = 0.3,
    warmup: float = 0.25,
    anneal: str = "linear",
) -> float:
    """Learning rate that rises to its peak in a straight line and then falls to zero.

    Args:
        step: zero-based number of the step, up to `total_steps`.
        total_steps: steps in the run.
        peak: the largest rate.
        warmup: share of the steps, from 0 to 1, before the peak is reached.
        anneal: how it falls: "linear", or "cosine", which is half a wave and ends flat.

    Returns:
        float: above 0 at every step of the run, `peak` at the end of the warm-up, 0 at
        `total_steps`.

    Raises:
        ValueError: if `anneal` is neither, `warmup` not a share, `step` not in the run, or another
            number not above 0.

    Source: after Smith and Topin 2017 (arXiv 1708.07120), without their last phase.
    """
    checks.choice("anneal", anneal, ANNEALS)
    checks.number("peak", peak, above=0)
    checks.number("warmup", warmup, most=1)
    checks.number("step", step, most=checks.number("total_steps", total_steps, above=0))
    rising = warmup * total_steps
    if step + 1 <= rising:
        return peak * (step + 1) / rising
    left = (total_steps - step) / (total_steps - rising) if step < total_steps else 0.0
    left = min(left, 1.0)
    return peak * (left if anneal == "linear" else (1 - math.cos(math.pi * left)) / 2)
