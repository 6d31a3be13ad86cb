"""The runs of notebook 09: each is one of benchmarks/ten_years.py, and can be had from it again."""

import copy
import fcntl
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import pytest
import ten_years as benchmark

from resnet_lib import records

RUNS = records.recorded("ten_years")
NAMES = {f"{name}-seed{seed}" for name in benchmark.RUNS for seed in benchmark.SEEDS}


def test_each_run_is_recorded_with_each_seed():
    assert set(RUNS) == NAMES


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_record_was_made_by_the_benchmarks_command(name):
    change, seed = name.rsplit("-seed", 1)
    assert RUNS[name].record["notes"]["command"] == " ".join(
        ["python", *benchmark.command(change, int(seed))]
    )


def test_each_step_changes_little_of_the_one_before():
    recipes = [RUNS[f"{name}-seed0"].record["recipe"] for name in benchmark.STEPS]
    apart = [
        {key for key in new if new[key] != old[key]} - {"name", "source"}
        for old, new in pairwise(recipes)
    ]
    assert apart[3:] == [
        {"whiten"},
        {"bias_rate"},
        {"label_smoothing"},
        {"translation"},
        {"alternating"},
        {"optimizer", "peak", "other_rate", "views"},
    ]


def test_each_run_has_the_same_pictures_and_is_whole():
    assert len({run.record["dataset"]["sha256"] for run in RUNS.values()}) == 2  # 32x32, 16x16
    assert all(run.record["epochs"] == run.record["recipe"]["epochs"] for run in RUNS.values())


@pytest.mark.parametrize("wrong", ["ten-years", "", 9])
def test_a_group_that_does_not_exist(wrong):
    with pytest.raises(ValueError, match="ten_years"):
        records.recorded(wrong)


def ended(run):
    """Return a run's validation accuracy at its end, in %, and its CPU minutes."""
    return 100 * run.history["val_accuracy"][-1], sum(run.history["cpu_seconds"]) / 60


FAST_ROWS = {
    "ResNet-20, one cycle, 15 epochs": ["resnet20v1-15epochs-cifar10"],
    "`resnet_fast`, 4 epochs": [f"fast-seed{seed}" for seed in benchmark.SEEDS],
    "ResNet-20, one cycle, 90 epochs": ["resnet20v1-cifar10"],
    "`resnet_fast`, 12 epochs": [f"fast-12-seed{seed}" for seed in benchmark.SEEDS],
    "widths 48, 128, 256, 8 epochs": [f"fast-8-wide-seed{seed}" for seed in benchmark.SEEDS],
    "widths 64, 192, 384, 12 epochs": [f"fast-12-wide-seed{seed}" for seed in benchmark.SEEDS],
    '`rl.load_trained("resnetfast-cifar10")`, widths 64, 240, 256, 28 epochs': [
        "resnetfast-cifar10"
    ],
}


@pytest.mark.parametrize("what", FAST_ROWS)
def test_the_readme_has_what_fast_brings(what):
    found = [ended((RUNS | records.recorded())[name]) for name in FAST_ROWS[what]]
    accuracies, minutes = zip(*found, strict=True)
    told = f"{mean(accuracies):.1f} %"
    if len(found) > 1:
        told += f" ± {stdev(accuracies) / len(found) ** 0.5:.1f}"
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"| {what} | {len(found)} | {told} | {mean(minutes):.1f} |" in readme


def test_the_readme_says_how_much_faster_the_later_day_was():
    def seconds(run):
        """Return those of an epoch at full size, as all are but the first of `one-cycle`."""
        sizes = run.record["recipe"]["sizes"]
        return mean(run.history["cpu_seconds"][0 if sizes == [[1, 1]] else 1 :])

    short = records.recorded()["resnet20v1-15epochs-cifar10"]
    later = mean(seconds(RUNS[f"one-cycle-seed{seed}"]) for seed in benchmark.SEEDS)
    fast = mean(ended(RUNS[f"fast-seed{seed}"])[1] for seed in benchmark.SEEDS)
    ratios = [15 * each / 60 / fast for each in (later, seconds(short))]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"took {seconds(short):.0f} CPU seconds on the day" in readme
    assert f"and {later:.0f} on the day of the fast runs" in readme
    assert "about {:.0f} to 1, not {:.0f} to 1".format(*ratios) in readme


def test_the_readme_says_that_the_first_epochs_were_repeated():
    root = Path(__file__).parents[1]
    said = "with `--check` their first epochs, whose losses on one core were those of the records"
    assert said in (root / "README.md").read_text(encoding="utf-8")
    lines = (root / "benchmarks" / "results" / "ten_years.txt").read_text().splitlines()[1:]
    losses = {name: found for name, *found in map(str.split, lines)}
    assert losses == {
        name: [f"{RUNS[f'{name}-seed0'].history['loss'][0]:.4f}"] * 2 + ["0.00%"]
        for name in benchmark.RUNS
    }


# The script


@pytest.fixture
def called(monkeypatch):
    """The commands that the script would have run."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    return commands


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ten_years.py", *map(str, arguments)])
    return benchmark.main()


def test_the_list_has_each_command_and_trains_nothing(monkeypatch, capsys, called):
    main(monkeypatch, "--list")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(run.record["notes"]["command"] for run in RUNS.values())
    assert called == []


def test_a_run_is_begun_in_the_folder_with_each_seed(monkeypatch, tmp_path, called):
    main(monkeypatch, tmp_path / "runs", "--only", "block-se")
    assert [command[-3:] for command in called] == [
        ["--seed", str(n), "--resume"] for n in range(3)
    ]
    assert str(tmp_path / "runs" / "ten-years-block-se-seed0") in called[0]


def test_a_whole_run_is_left_alone_and_so_is_one_that_another_process_trains(
    monkeypatch, tmp_path, called
):
    whole = tmp_path / "ten-years-block-se-seed0"
    whole.mkdir()
    (whole / "record.json").write_text((records.RECORDED / "resnet20v1-shapes.json").read_text())
    with open(tmp_path / "ten-years-block-se-seed1.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        main(monkeypatch, tmp_path, "--only", "block-se")
    assert [command[-2] for command in called] == ["2"]


def test_without_a_folder_nothing_is_trained(monkeypatch, capsys, called):
    with pytest.raises(SystemExit):
        main(monkeypatch)
    assert "folder for the runs is needed" in capsys.readouterr().err
    assert called == []


@pytest.mark.parametrize(("factor", "code"), [(1.009, 0), (0.989, 1)])
def test_a_first_epoch_is_checked_against_the_record(factor, code, monkeypatch, capsys):
    found = []

    def run(command, check, stdout):
        """Write what training would leave: the record, its first loss somewhat changed."""
        assert command[-4:] == ["--seed", "0", "--stop-after", "1"]
        record = copy.deepcopy(RUNS["block-se-seed0"].record)
        record["history"]["loss"][0] *= factor
        out = Path(command[command.index("--out") + 1])
        out.mkdir()
        (out / "record.json").write_text(json.dumps(record))
        found.append(out)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(monkeypatch, "--check", "--only", "block-se") == code
    last = capsys.readouterr().out.splitlines()[-1]
    loss = RUNS["block-se-seed0"].history["loss"][0]
    assert last.split()[:3] == ["block-se", f"{loss:.4f}", f"{loss * factor:.4f}"]
    assert not found[0].exists()
