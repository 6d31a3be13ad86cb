"""Train a network: a copy of it, with a recipe, into a folder that holds the run.

    run = rl.train(model, data, recipe, out="runs/first")

`run` is where to start reading; a run's epochs are in `fit`, the copy that is trained in `network`.
"""

from .budget import for_budget
from .commands import run_command
from .folds import k_fold
from .fused_bn import speed_up
from .hosts import join_hosts
from .machine import Execution, best_execution
from .run import train

__all__ = [
    "Execution",
    "best_execution",
    "for_budget",
    "join_hosts",
    "k_fold",
    "run_command",
    "speed_up",
    "train",
]


def __dir__():
    return __all__
