"""Networks that tests look at and do not change, each built when it is first asked for."""

from functools import cache, partial

from resnet_lib import cifar, imagenet

CIFAR = (32, 32, 3)
NETS = {
    "v1": partial(cifar.resnet_v1, CIFAR, 20, form="standard"),
    "v1 paper": partial(cifar.resnet_v1, CIFAR, 20, form="paper"),
    "v1 deep": partial(cifar.resnet_v1, CIFAR, 56),
    "v2": partial(cifar.resnet_v2, CIFAR, 29),
    "v2 paper": partial(cifar.resnet_v2, CIFAR, 29, form="paper"),
    "plain": partial(cifar.plain_net, CIFAR, 20),
    "plain small": partial(cifar.plain_net, CIFAR, 8),
    "resnet50": imagenet.resnet50,
    "se": partial(cifar.resnet_v1, CIFAR, 8, block="se"),
    "stochastic depth": partial(cifar.resnet_v1, CIFAR, 8, block="stochastic-depth"),
    "skipinit": partial(cifar.resnet_v2, CIFAR, 8, form="paper", block="skipinit"),
    "convnext": partial(cifar.resnet_v2, CIFAR, 8, form="paper", block="convnext"),
    "transformer": partial(cifar.resnet_v2, CIFAR, 8, form="paper", block="transformer"),
}


@cache
def net(name):
    """Return one of the networks."""
    return NETS[name]()
