"""Learning-rate schedules, each a plain function."""

import math

ANNEALS = ("linear", "cosine")


def example(epoch):
    """Learning rate of the widely copied Keras example: 1e-3 in steps down to 5e-7.

    Args:
        epoch: zero-based number of the epoch, of 200.

    Returns:
        float: 1e-3 up to epoch 80, 1e-4 up to 120, 1e-5 up to 160, 1e-6 up to 180, then 5e-7.

    Source: the Keras example cifar10_resnet.py, `lr_schedule`.
    """
    for after, factor in ((180, 0.5e-3), (160, 1e-3), (120, 1e-2), (80, 1e-1)):
        if epoch > after:
            return 1e-3 * factor
    return 1e-3


def paper(iteration, *, warmup=0):
    """Learning rate of the ResNet paper on CIFAR-10: 0.1, divided by 10 at 32k and 48k.

    Args:
        iteration: zero-based number of the step, of 64,000 with 128 images each.
        warmup: steps at 0.01 before it starts at 0.1; about 400 for depth 110.

    Returns:
        float.

    Source: He et al. 2015 (arXiv 1512.03385), section 4.2.
    """
    if iteration < warmup:
        return 0.01
    return 0.1 / 10 ** ((iteration >= 32_000) + (iteration >= 48_000))


def one_cycle(step, total_steps, *, peak=0.3, warmup=0.25, anneal="linear"):
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
        ValueError: if `anneal` is neither, `warmup` not a share, or `step` not in the run.

    Source: after Smith and Topin 2017 (arXiv 1708.07120), without their last phase.
    """
    if anneal not in ANNEALS:
        raise ValueError(f"anneal: expected one of {', '.join(ANNEALS)}, received {anneal!r}")
    if not 0 <= warmup <= 1:
        raise ValueError(f"warmup: expected a share from 0 to 1, received {warmup!r}")
    if not 0 <= step <= total_steps:
        raise ValueError(f"step: expected a number from 0 to {total_steps}, received {step!r}")
    rising = warmup * total_steps
    if step + 1 <= rising:
        return peak * (step + 1) / rising
    left = (total_steps - step) / (total_steps - rising) if step < total_steps else 0.0
    left = min(left, 1.0)
    return peak * (left if anneal == "linear" else (1 - math.cos(math.pi * left)) / 2)
