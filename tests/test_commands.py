"""The command line, started from a notebook; and its commands that ask a trained network."""

import json
import shutil

import pytest
from PIL import Image

import resnet_lib as rl
from resnet_lib.__main__ import main
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


# Commands that ask a trained network


@pytest.fixture
def pictures(tmp_path):
    """A folder with folders of drawn shapes, as the shipped network knows them."""
    data = rl.datasets.shapes(train=10, validation=20, test=20)
    for row, label in enumerate(data.test.labels):
        folder = tmp_path / "pictures" / data.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.test.images[row]).save(folder / f"{row}.png")
    return tmp_path / "pictures"


def test_a_picture_is_named(pictures, capsys):
    hearts = sorted((pictures / "heart").iterdir())
    assert main(["predict", "resnet20v1-shapes", *map(str, hearts), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["picture", "answer", "probability", "then"]
    assert [line.split()[:2] for line in lines[1:]] == [[str(path), "heart"] for path in hearts]
    assert main(["predict", "resnet20v1-shapes", str(pictures / "heart"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["picture"] for each in found] == [path.name for path in hearts]
    assert {each["name"] for each in found} == {"heart"}
    assert [len(each["answers"]) for each in found] == [3] * len(hearts)


def test_a_network_in_a_file_of_its_own(pictures, tmp_path, capsys):
    shutil.copy(rl.records.RECORDED / "resnet20v1-shapes.keras", tmp_path / "sent.keras")
    (path, *_) = sorted((pictures / "heart").iterdir())
    assert main(["predict", str(tmp_path / "sent.keras"), str(path)]) == 0
    assert "heart" in capsys.readouterr().out


def test_what_cannot_be_read_is_said_by_the_exit_code(pictures, capsys):
    (pictures / "star" / "bad.png").write_bytes(b"")
    (pictures / "star" / "notes.txt").write_text("")
    arguments = ["predict", "resnet20v1-shapes", str(pictures / "star"), "--json"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert [each["picture"] for each in json.loads(said.out) if each["error"]] == ["bad.png"]
    assert said.err.startswith("resnet_lib: 1 files in ")
    assert len(said.err.splitlines()) == 1


def test_a_folder_of_pictures_is_evaluated(pictures, capsys):
    shutil.rmtree(pictures / "ring")
    assert main(["evaluate", "resnet20v1-shapes", str(pictures), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] > 0.8
    assert (found["pictures"], found["missing"]) == (18, ["ring"])
    assert main(["evaluate", "resnet20v1-shapes", str(pictures)]) == 0
    assert f"accuracy {found['accuracy']:.1%} of 18 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["predict", "resnet20v1-shape", "a.png"], "resnet20v1-cifar10, resnet20v1-shapes"),
        (["predict", "resnet20v1-shapes", "no.png"], "no.png"),
        (["predict", "resnet20v1-shapes", "{pictures}", "--top", "0"], "Expected `top`"),
        (["evaluate", "resnet20v1-shapes", "{pictures}/star"], "no such folder"),
        (["evaluate", "resnet20v1-cifar10", "{pictures}"], "Received, in "),
        (["evaluate", "none.keras", "{pictures}"], "none.keras"),
    ],
)
def test_what_is_refused_is_one_line(arguments, told, pictures, capsys):
    assert main([each.format(pictures=pictures) for each in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("resnet_lib: Expected ")
    assert told in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_a_network_is_exported(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["export", "resnet20v1-shapes", str(out), "--format", "saved_model"]
    assert main([*command, "--pictures", str(pictures / "heart")]) == 0
    assert (out / "saved_model" / "saved_model.pb").is_file()
    assert str(out / "saved_model") in capsys.readouterr().out
    assert main(command) == 2
    assert "saved_model" in capsys.readouterr().err
