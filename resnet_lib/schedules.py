"""Learning-rate schedules, each a plain function."""


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
