"""The package's names: what it offers, what it was called before, what it imports when."""

import importlib.metadata
import subprocess
import sys

import pytest

import resnet_lib as rl

ENGINE = ("run", "fit", "network", "fused_bn", "batches", "callbacks", "machine", "budget")


def test_each_public_name_is_there():
    assert sorted(set(rl.__all__)) == rl.__all__, "each once, in order"
    for name in rl.__all__:
        assert getattr(rl, name) is not None
    assert set(dir(rl)) == {*rl.__all__, "__version__"}


def test_the_engines_rooms_stand_behind_its_door():
    assert not {*ENGINE, "checks", "progress"} & set(rl.__all__)
    names = ["Execution", "best_execution", "for_budget", "join_hosts", "k_fold", "run_command"]
    names += ["speed_up", "train"]
    assert dir(rl.training) == rl.training.__all__ == names
    assert all(callable(getattr(rl.training, name)) for name in names)
    assert rl.train is rl.training.train
    assert rl.finetune is rl.finetuning.finetune


def test_the_version_is_the_packages():
    assert rl.__version__ == importlib.metadata.version("resnet-lib")


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("execution", "rl.training.best_execution"),
        ("budget", "rl.training.for_budget"),
        ("arguments", "rl.checks"),
        ("batches", "rl.training.batches"),
        ("callbacks", "rl.training.callbacks"),
        ("fitting", "rl.training.fit"),
        ("preparation", "rl.training.network"),
    ],
)
def test_an_old_name_says_the_new_one(name, now):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; it is now .*{now}$"):
        getattr(rl, name)
    found = rl
    for part in now.split(".")[1:]:
        found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
    assert found


def test_a_name_that_never_was():
    with pytest.raises(AttributeError, match=r"no attribute 'resnet19'$"):
        _ = rl.resnet19


LATER = """
import sys
import resnet_lib as rl
print(sorted(name for name in sys.modules if name.startswith("resnet_lib.")))
rl.training.train
print("resnet_lib.training.run" in sys.modules)
"""


@pytest.mark.slow
def test_a_room_is_imported_when_it_is_used():
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert done.stdout == "['resnet_lib.runtime']\nTrue\n"
