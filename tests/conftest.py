"""What holds for all tests: no GPU, nothing kept, the real images only where these are."""

import gc
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

# Before anything imports TensorFlow; the kernels and processes that tests start inherit it.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
# Whoever runs the tests may be a reader, too: their answers stay as they are.
os.environ["RESNET_LIB_PROGRESS"] = "off"

# Networks are full of cycles, and collecting them some 20,000 times costs a tenth of the time.
gc.set_threshold(50_000, 20, 20)


# The files that take longest, slow tests or not: two processes end at nearly the same time if
# what is left to the end is short. (`make` asks pytest-xdist to keep to this order.)
LONGEST = ("test_zoo", "test_notebooks", "07_fair_comparisons", "06_full_training", "test_tasks")
LONGEST += ("03_cifar_resnet_v1", "01_skip_connections", "04_cifar_resnet_v2")
LONGEST += ("05_resnet50_comparison",)
LONGEST += ("02_identity_and_projection_blocks", "test_exercises", "test_workshop", "test_cifar")
LONGEST += ("test_imagenet", "test_odd_models", "test_blockprobes", "test_fit", "test_run")
LONGEST += ("test_damage", "test_main", "test_callbacks", "test_fused_bn", "test_runtime")


def pytest_addoption(parser):
    parser.addoption(
        "--seed", type=int, default=0, help="of what is drawn without one (%(default)s)"
    )


def pytest_collectstart(collector):
    """What a test file draws while it is imported is the same in every run."""
    if isinstance(collector, pytest.Module):
        seed(collector.config)


def pytest_runtest_setup(item):
    """What a test draws is the same in every run, whichever tests run before it."""
    seed(item.config)


def seed(config):
    """Seed what initializers, `shuffle` and the like draw from where they are given no seed."""
    seed = config.getoption("seed")
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(seed)
    else:  # A file that imports Keras draws its initializers' seeds from `random`.
        random.seed(seed)
        np.random.seed(seed)


def pytest_collection_modifyitems(items):
    """Start with the longest files; skip the tests marked `images` where there are no images."""
    places = {stem: place for place, stem in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
    reason = no_images()
    for item in items:
        if reason and item.get_closest_marker("images"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session):
    """Switch tf.data's autotuning off.

    Where an iterator is thrown away before its end, as where `fit` fails, TensorFlow 2.21 cancels
    the thread that tunes it. Now and then that thread wakes before it is marked as cancelled, and
    sleeps on for as long as the iterator has lived: up to a minute, which the process waits for.
    """
    if tf := sys.modules.get("tensorflow"):
        iterate = tf.data.Dataset.__iter__
        options = tf.data.Options()
        options.autotune.enabled = False
        tf.data.Dataset.__iter__ = lambda dataset: iterate(dataset.with_options(options))


def no_images():
    """Return why the tests of the real images cannot run, or None."""
    folder = os.environ.get("RESNET_LIB_DATA")
    if not folder:
        return "needs the real images: set RESNET_LIB_DATA to their folder"
    if not Path(folder).is_dir():
        return f"needs the real images: RESNET_LIB_DATA={folder} is not a folder"
    return None


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of two epochs, with its folder, to look at and not to change."""
    from small import PICTURES, resnet8

    from resnet_lib import training
    from resnet_lib.recipes import EXAMPLE

    out = tmp_path_factory.mktemp("runs") / "deep" / "first"
    return training.train(
        resnet8(), PICTURES, EXAMPLE, out=out, epochs=2, seed=3, notes={"form": "example"}
    )


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Return an empty folder; no data set is in a cache or named, and there is no network."""
    from resnet_lib.datasets import download

    def no_network(url, sha256):
        raise OSError("no network in this test")

    monkeypatch.setattr(download, "fetch", no_network)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("RESNET_LIB_DATA", raising=False)
    return tmp_path
