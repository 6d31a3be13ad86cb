"""The command line, started from a notebook: reported, killed, and gone on with."""

import pytest

import resnet_lib as rl
from resnet_lib.training import commands

SMALL = "--dataset shapes --limit 200 --model resnet8v1 --recipe one-cycle --epochs 3"


@pytest.mark.slow
def test_a_command_is_reported_killed_and_resumed(tmp_path, capsys):
    folder = tmp_path / "run"
    assert rl.training.run_command(SMALL, out=folder, kill_after=1) == -9
    assert capsys.readouterr().out == "epoch 1/3\n"
    assert not (folder / "record.json").exists()
    assert rl.training.run_command(SMALL, out=folder, resume=True) == 0
    assert capsys.readouterr().out == "epoch 2/3\nepoch 3/3\n"
    assert len(rl.records.load(folder).history["loss"]) == 3


@pytest.fixture
def printing(monkeypatch, tmp_path):
    """Return a function: have Python run a program of one's own in place of the command line."""

    def use(*lines):
        program = tmp_path / "program"
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)
        monkeypatch.setattr(commands.sys, "executable", str(program))

    return use


def test_the_command_is_the_one_that_is_asked_for_and_has_no_gpu(printing, tmp_path, capsys):
    printing('echo "epoch $CUDA_VISIBLE_DEVICES $# $*: 0.5"')
    options = "--seed 3 --set 'sizes=[[1, 1]]'"
    assert rl.training.run_command(options, out=tmp_path / "a b", resume=True) == 0
    said, asked = capsys.readouterr().out, "--seed 3 --set sizes=[[1, 1]]"
    assert said == f"epoch -1 10 -m resnet_lib train {asked} --out {tmp_path / 'a b'} --resume\n"


def test_what_a_command_that_fails_has_said_is_printed(printing, tmp_path, capsys):
    printing("echo epoch 1/2: loss", "echo resnet_lib: no >&2", "exit 2")
    assert rl.training.run_command("", out=tmp_path / "run", kill_after=2) == 2
    assert capsys.readouterr().out == "epoch 1/2\nepoch 1/2: loss\nresnet_lib: no\n"


def test_only_the_named_epoch_ends_it(printing, tmp_path, capsys):
    printing("for n in 1 2 3 4; do echo epoch $n/10: loss; done; exec sleep 60")
    assert rl.training.run_command("", out=tmp_path / "run", kill_after=4) == -9
    assert capsys.readouterr().out.splitlines() == [f"epoch {n}/10" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("wrong", [0, 1.5, "2"])
def test_an_epoch_that_is_none_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="Expected `kill_after`"):
        rl.training.run_command("", out=tmp_path / "run", kill_after=wrong)
