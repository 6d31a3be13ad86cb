"""What a reader answers and predicts is kept in their own file, and nowhere else."""

import json
import linecache
import os
import signal
import subprocess
import sys
import textwrap
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from answers import slow_marked

import resnet_lib
from resnet_lib import exercises
from resnet_lib.exercises import kept, sources, tasks
from resnet_lib.exercises.predictions import PREDICTIONS

NAME = "02-identity-parameters"


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """A process that has done nothing yet; what a call returns begins another one."""

    def begin():
        for each in (exercises._right, exercises._guesses, exercises._hints_given):
            each.clear()
        exercises._recalled.clear()
        kept._say.cache_clear()

    begin()
    yield begin
    begin()


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The path of the file; there is none yet, nor its folder."""
    path = tmp_path / "deep" / "progress.json"
    monkeypatch.setenv("RESNET_LIB_PROGRESS", str(path))
    return path


@pytest.fixture
def said(capsys):
    """Return a function that calls another and returns what it printed, stderr last."""

    def of(function, *args, **options):
        assert function(*args, **options) is None
        return "".join(capsys.readouterr())

    return of


def cell(source, names=None):
    """Run a source as a notebook runs a cell; return the names that it knows then."""
    names = {"__name__": "__main__"} if names is None else names
    source = textwrap.dedent(source)
    place = f"<cell {len(linecache.cache)}>"
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
    exec(compile(source, place, "exec"), names)
    return names


# Predictions


@pytest.mark.parametrize(
    ("guess", "shown"),
    [
        (5000, "5,000"),
        (-1234567, "-1,234,567"),
        (0.123456, "0.1235"),
        (270000.0, "270,000"),
        (9999.9, "10,000"),
        (1234.56, "1,235"),
        (2.0, "2"),
        (1e-7, "1e-07"),
        (1e20, "1e+20"),
        (float("inf"), "inf"),
        (True, "True"),
        ("the deeper one", "the deeper one"),
        ("two\nlines", "two lines"),
        ((16, 16, 2048), "(16, 16, 2048)"),
        ((0.5,), "(0.5,)"),
        ((), "()"),
        (((16, 16, 32), 14528, "x"), "((16, 16, 32), 14528, 'x')"),
        ([0.98765, 12345.6], "[0.9877, 12346]"),
        ({"v1": True, 2: 0.5}, "{'v1': True, 2: 0.5}"),
        (2 + 1j, "(2+1j)"),
        (Fraction(1, 4), "0.25"),
        (np.int64(5000), "5,000"),
        (np.float32(0.25), "0.25"),
        (np.bool_(True), "True"),
        (np.array([1, 2]), "[1, 2]"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_guess_is_shown_as_a_reader_would_write_it_in_this_process_and_the_next(
    guess, shown, file, said, process
):
    assert said(exercises.predict, NAME, guess) == f"you predict: {shown}\n"
    for _ in range(2):
        assert said(exercises.compare, NAME, counted=4672) == f"you: {shown}; counted: 4,672\n"
        process()


def test_results_are_shown_each_under_its_word(said):
    exercises.predict("02-projection", (16, 16, 32))
    told = said(exercises.compare, "02-projection", shape=(16, 16, 32), parameters=14528)
    assert told.splitlines()[-1] == "you: (16, 16, 32); shape: (16, 16, 32), parameters: 14,528"


@pytest.mark.parametrize("guess", [..., None, (..., 1), [1, ...]], ids=repr)
def test_what_is_not_filled_in_is_no_prediction(guess, file, said):
    told = "no prediction yet: replace `...` by your guess and run this cell again\n"
    assert said(exercises.predict, NAME, guess) == told
    assert said(exercises.compare, NAME, counted=4672) == "you: no prediction; counted: 4,672\n"
    assert not file.exists()


@pytest.mark.parametrize("guess", [object(), {1, 2}, len, b"x", (1, object())], ids=lambda g: "")
def test_a_guess_of_another_type_is_refused(guess, file):
    for call in (lambda: exercises.predict(NAME, guess), lambda: exercises.compare(NAME, x=guess)):
        with pytest.raises(ValueError, match=r"Expected a number, a text, .* Received: "):
            call()
    assert not file.exists()


def test_an_unknown_prediction_and_no_result_are_refused():
    for call in (exercises.predict, exercises.compare):
        options = {"guess": 1} if call is exercises.predict else {"counted": 1}
        with pytest.raises(ValueError, match=r"'02-identity-parameters'.* Received: '02-identity-"):
            call("02-identity-parameter", **options)
        with pytest.raises(ValueError, match=r"Received: \['01'\]"):
            call(["01"], **options)
    with pytest.raises(ValueError, match=r"Expected a result, .* Received: none"):
        exercises.compare(NAME)


def test_a_prediction_and_its_result_are_in_the_file(file):
    exercises.predict(NAME, 5000)
    exercises.compare(NAME, counted=4672)
    entry = json.loads(file.read_text())["predictions"][NAME]
    assert entry == {"guess": "5000", "when": kept.today(), "result": {"counted": "4672"}}


# Answers

MINE = """
from keras import layers
import numpy as np

SIZE = 3

def conv(y, filters, name):
    return layers.Conv2D(filters, SIZE, padding="same", use_bias=False, name=name)(y)

def mine(x, filters, name):
    '''My block.'''
    y = conv(x, filters, f"{name}_conv1")
    y = layers.BatchNormalization(name=f"{name}_bn1")(y)
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = conv(y, filters, f"{name}_conv2")
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu2")(y)
"""
BLOCK = "02-identity-block"


def test_a_right_function_is_used_at_once_and_a_wrong_one_changes_nothing(capsys):
    mine = cell(MINE)["mine"]
    stand_in = exercises.answer(BLOCK)
    told = f"{BLOCK}: not solved yet, the library's function stands in "
    told += f'(rl.exercises.hint("{BLOCK}"))'
    assert capsys.readouterr().out == f"{told}\n"
    assert stand_in is not mine
    for answer, last in ((mine, ""), (lambda x, filters, name: x, ", the last that was right")):
        exercises.check(BLOCK, answer)
        capsys.readouterr()
        assert exercises.answer(BLOCK) is mine
        assert capsys.readouterr().out == f"{BLOCK}: your function{last}\n"


def test_what_is_not_right_is_not_used(capsys):
    exercises.check(BLOCK, lambda x, filters, name: x)
    exercises.answer(BLOCK)
    assert "the library's function stands in" in capsys.readouterr().out


@pytest.mark.parametrize("call", [exercises.answer, exercises.recall])
def test_an_answer_that_is_no_function_is_not_handed_out(call):
    with pytest.raises(ValueError, match=r"whose answer is a function. Received: '02-parameters'"):
        call("02-parameters")
    with pytest.raises(ValueError, match=r"nearest: '02-identity-block'"):
        call("02-identity-blok")


def test_the_source_of_an_answer_runs_again_in_the_next_notebook(file, said, process):
    exercises.check(BLOCK, cell(MINE)["mine"])
    said(lambda: None)
    process()
    code = said(exercises.recall, BLOCK)
    assert code.startswith(f"# Your answer to {BLOCK}, kept on {kept.today()}.\nfrom keras import")
    names = cell(code, {"__name__": "__main__", "rl": resnet_lib})
    assert exercises.answer(BLOCK) is names["mine"]


def test_without_a_kept_answer_recall_shows_the_librarys(said):
    told = said(exercises.recall, BLOCK)
    assert told.startswith(f"{BLOCK}: no answer of yours is kept. The library's function:\n\nfrom ")
    assert told == said(exercises.recall, BLOCK)


OF_FUNCTIONS = [n for n in exercises.names() if exercises._exercise(n).stand_in]


@pytest.mark.parametrize("name", slow_marked(OF_FUNCTIONS))
def test_the_librarys_function_is_shown_as_it_runs_in_a_notebook(name, said):
    shown = said(exercises.recall, name).split("\n\n", 1)[1]
    names = cell(shown, {"__name__": "__main__"})
    function = names[exercises._exercise(name).stand_in.__name__]
    assert said(exercises.check, name, function).startswith("correct: ")


LOCAL = """
from keras import layers

y = list(range(5))


def conv():
    return "another function, of the reader's own"


def residual(x, branch):
    y = branch(x)
    conv = layers.Add()([y, x])
    return layers.ReLU()(conv)
"""


def test_what_a_function_only_calls_alike_is_not_kept_with_it(file, said):
    said(exercises.check, "01-residual", cell(LOCAL)["residual"])
    code = said(exercises.recall, "01-residual")
    assert "def residual" in code
    assert "y = [" not in code and "def conv" not in code


@pytest.mark.parametrize("guess", [np.float64(0.5), (np.float64(0.5), np.int64(2)), np.str_("v1")])
def test_numbers_of_numpy_are_shown_as_pythons(guess, said):
    said(exercises.predict, "05-18-or-20", guess)
    assert "np." not in said(exercises.compare, "05-18-or-20", times=np.float64(3.25))


def test_to_forget_renames_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LIB_PROGRESS", str(tmp_path))
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(OSError, match="is not a file"):
        kept.set_aside()
    assert (tmp_path / "other.txt").read_text() == "mine"


class Shell:
    """An IPython that notes which cells it is to begin."""

    def __init__(self):
        self.cells = []

    def set_next_input(self, text):
        self.cells.append(text)


STANDS = f"{BLOCK}: your function stands in a cell already, to run or to change\n"


def test_in_a_notebook_an_answer_comes_into_one_new_cell(file, said, process, monkeypatch):
    exercises.check(BLOCK, cell(MINE)["mine"])
    shell = Shell()
    monkeypatch.setattr(exercises, "_shell", lambda: shell)
    assert said(exercises.recall, BLOCK).endswith("stands in the next cell, to run or to change\n")
    assert said(exercises.recall, BLOCK) == STANDS
    (code,) = shell.cells
    assert code.endswith(f'rl.exercises.check("{BLOCK}", mine)')
    process()
    exercises.recall(BLOCK)
    assert len(shell.cells) == 2


def test_a_restarted_kernel_makes_no_second_cell(file, said, process, monkeypatch, tmp_path):
    exercises.check(BLOCK, cell(MINE)["mine"])
    shell, path = Shell(), tmp_path / "mine.ipynb"
    monkeypatch.setattr(exercises, "_shell", lambda: shell)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    recall = {"source": [f'rl.exercises.recall("{BLOCK}")']}
    for content in ("", "{}", json.dumps({"cells": [recall]})):  # Not saved yet, or without it.
        path.write_text(content)
        process()
        assert said(exercises.recall, BLOCK).endswith("in the next cell, to run or to change\n")
    (*_, code), before = shell.cells, len(shell.cells)
    older = code.replace(kept.today(), "2020-01-01").splitlines(keepends=True)
    path.write_text(json.dumps({"cells": [recall, {"source": older}]}))
    process()
    assert said(exercises.recall, BLOCK) == STANDS
    assert len(shell.cells) == before == 3


def test_a_right_answer_stays_right_and_the_newest_is_kept(file):
    exercises.check("02-parameters", 57600)
    assert state("02-parameters", file) == "tried"
    exercises.check("02-parameters", 57728)
    exercises.check("02-parameters", 57600)
    exercises.check("02-parameters", ...)
    assert state("02-parameters", file) == "right"
    assert entries(file)["02-parameters"]["value"] == "57728"
    exercises.check("02-bottleneck-shape", ...)
    assert "02-bottleneck-shape" not in entries(file)

    exercises.check("03-depth", cell("def first(depth):" + DEPTH)["first"])
    exercises.check("03-depth", cell("def second(depth):" + DEPTH)["second"])
    assert entries(file)["03-depth"]["name"] == "second"


DEPTH = """
    n, rest = divmod(depth - 2, 6)
    return None if rest or n < 1 else n
"""


def entries(file):
    return json.loads(file.read_text())["exercises"]


def state(name, file):
    return entries(file)[name]["state"]


# Hints


def test_each_call_gives_a_further_hint_and_then_the_last_again(said):
    hints = exercises._exercise(BLOCK).hints
    beginnings = [said(exercises.hint, BLOCK).split(":")[0] for _ in range(len(hints) + 2)]
    last = f"hint {len(hints)} of {len(hints)}, there is no further one"
    numbered = [f"hint {n + 1} of {len(hints)}" for n in range(len(hints))]
    assert beginnings == [*numbered, last, last]
    assert said(exercises.hint, BLOCK, number=1).startswith("hint 1 of ")
    with pytest.raises(ValueError, match="Expected `number` to be a whole number from 1 to"):
        exercises.hint(BLOCK, number=4)


# What is done


def test_the_list_knows_the_exercises_without_their_judges():
    assert tuple(tasks.exercises()) == exercises.names()
    for name, task in tasks.exercises().items():
        exercise = exercises._exercise(name)
        assert (exercise.level, exercise.minutes) == task
    files = sorted(Path(exercises.__file__).parent.glob("notebook*.py"))
    modules = [getattr(exercises, path.stem) for path in files]
    assert sum(len(module.EXERCISES) for module in modules) == len(tasks.exercises())


def test_progress_lists_every_task_and_what_is_left(file, said):
    exercises.check("02-parameters", 57728)
    exercises.check("03-blocks", 5)
    exercises.predict(NAME, 5000)
    said(lambda: None)
    lines = said(exercises.progress).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    assert tuple(rows) == tuple(sorted(rows, key=lambda name: name[:2]))
    assert rows.keys() == {*exercises.names(), *PREDICTIONS}
    assert rows["02-parameters"] == ["easy", "5", "min", "right"]
    assert rows["03-blocks"][-1] == "tried"
    assert rows["03-depth"][-1] == "–"
    assert rows[NAME] == ["prediction", "predicted:", "5,000"]
    minutes = sum(task.minutes for task in tasks.exercises().values()) - 5
    total = len(exercises.names())
    assert lines[-3:] == [
        f"exercises: 1 of {total} right, 1 tried; {minutes} minutes are left",
        f"predictions: 1 of {len(PREDICTIONS)} made",
        f"kept in {file}",
    ]


# Where


@pytest.mark.parametrize("off", ["off", "OFF"])
def test_off_reads_and_writes_nothing(off, tmp_path, monkeypatch, said, process):
    monkeypatch.setenv("RESNET_LIB_PROGRESS", off)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    exercises.check("02-parameters", 57728)
    assert said(exercises.predict, NAME, 5000).endswith("you predict: 5,000\n")
    assert said(exercises.compare, NAME, counted=4672) == "you: 5,000; counted: 4,672\n"
    told = said(exercises.progress)
    assert told.endswith("nothing is kept: RESNET_LIB_PROGRESS is off\n")
    assert "exercises: 0 of " in told
    assert list(tmp_path.iterdir()) == []


def test_the_tests_keep_nothing():
    assert os.environ["RESNET_LIB_PROGRESS"] == "off"
    assert kept.place() is None


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.local/share/resnet_lib/progress.json"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "home/.local/share/resnet_lib/progress.json"),
        ("linux", {"XDG_DATA_HOME": "{}/data"}, "data/resnet_lib/progress.json"),
        ("darwin", {}, "home/Library/Application Support/resnet_lib/progress.json"),
        ("win32", {}, "home/AppData/Local/resnet_lib/progress.json"),
        ("win32", {"LOCALAPPDATA": "{}/local"}, "local/resnet_lib/progress.json"),
        ("linux", {"RESNET_LIB_PROGRESS": "~/mine.json"}, "home/mine.json"),
        ("linux", {"RESNET_LIB_PROGRESS": ""}, "home/.local/share/resnet_lib/progress.json"),
    ],
)
def test_the_files_place(platform, variables, expected, tmp_path, monkeypatch):
    for name in ("RESNET_LIB_PROGRESS", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "{}/home", **variables}.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert kept.place() == tmp_path / expected


# What may happen to a file


def keep(name, kind=kept.PREDICTIONS):
    kept.update(kind, name, lambda before: before | {"guess": "1"})


def quick(source, **variables):
    """Start a process that runs a source; as the command line does, it imports no Keras."""
    head = "import sys; sys.argv[0] = 'resnet-lib'; from resnet_lib.exercises import kept\n"
    program = [sys.executable, "-c", head + textwrap.dedent(source)]
    return subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=os.environ | variables)


def test_processes_that_write_at_once_lose_nothing(file):
    source = """
    import os
    for number in range(20):
        kept.update("predictions", f"{os.environ['WHO']}-{number}", lambda before: {"guess": "1"})
    """
    writers = [quick(source, WHO=who) for who in "abc"]
    assert [writer.communicate()[1] for writer in writers] == ["", "", ""]
    expected = {f"{who}-{number}" for who in "abc" for number in range(20)}
    assert kept.entries(kept.PREDICTIONS).keys() == expected
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_writer_that_dies_leaves_a_whole_file(file):
    keep("first")
    source = """
    import os, pathlib
    def write_half(file):
        os.truncate(file, os.fstat(file).st_size // 2)
        os._exit(9)
    os.fsync = write_half
    kept.update("predictions", "second", lambda before: {})
    """
    dying = quick(source)
    dying.communicate()
    assert dying.returncode == 9
    assert kept.entries(kept.PREDICTIONS).keys() == {"first"}
    keep("third")
    assert kept.entries(kept.PREDICTIONS).keys() == {"first", "third"}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_writer_killed_with_the_lock_keeps_nobody_waiting(file, tmp_path):
    source = f"""
    import pathlib, time
    def wait(before):
        pathlib.Path({str(tmp_path / "locked")!r}).touch()
        time.sleep(60)
    kept.update("predictions", "x", wait)
    """
    holder = quick(source)
    while not (tmp_path / "locked").exists():
        time.sleep(0.05)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    keep("y")
    assert kept.entries(kept.PREDICTIONS).keys() == {"y"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"exercises": {"01-res',
        b"",
        b"\xff\xfe",
        b"[1, 2]",
        b"7",
        b'{"exercises": []}',
        b'{"predictions": {"x": 5}}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:12]),
)
@pytest.mark.parametrize("act", ["read", "write"])
def test_a_damaged_file_is_set_aside_and_a_line_says_so(content, act, file, said):
    file.parent.mkdir()
    file.write_bytes(content)
    told = said(exercises.progress) if act == "read" else said(exercises.predict, NAME, 5000)
    (line,) = [line for line in told.splitlines() if line.startswith("resnet_lib: ")]
    (aside,) = file.parent.glob("progress.json.damaged-*")
    assert line == f"resnet_lib: {file} is damaged. It is now {aside}, and a new one is begun."
    assert aside.read_bytes() == content
    exercises.predict(NAME, 6000)
    assert kept.entries(kept.PREDICTIONS)[NAME]["guess"] == "6000"


def test_two_damaged_files_of_one_second_are_both_kept(file):
    file.parent.mkdir()
    for content in ("one", "two"):
        file.write_text(content)
        keep("x")
        file.unlink()
    assert {p.read_text() for p in file.parent.glob("*.damaged-*")} == {"one", "two"}


def test_what_a_newer_version_has_written_stays(file):
    file.parent.mkdir()
    newer = {
        "badges": [1, 2],
        "exercises": {"99-new": {"state": "mastered", "stars": 5}, "02-parameters": {"stars": 3}},
        "predictions": {NAME: {"sure": 0.9}},
    }
    file.write_text(json.dumps(newer))
    exercises.check("02-parameters", 57728)
    exercises.predict(NAME, 5000)
    content = json.loads(file.read_text())
    assert content["badges"] == [1, 2]
    assert content["exercises"]["99-new"] == {"state": "mastered", "stars": 5}
    assert content["exercises"]["02-parameters"]["stars"] == 3
    assert content["predictions"][NAME]["sure"] == 0.9


@pytest.mark.parametrize(
    "entry",
    [
        {"state": 7, "source": 5, "name": "f"},
        {"state": "right", "source": ["x"], "name": "import os; f"},
        {"state": ["right"], "source": ["x"]},
    ],
    ids=["numbers", "no name", "lists"],
)
def test_a_strange_entry_is_no_answer(entry, file, said):
    file.parent.mkdir()
    file.write_text(json.dumps({"exercises": {BLOCK: entry}, "predictions": {NAME: {"guess": 5}}}))
    assert "no answer of yours is kept" in said(exercises.recall, BLOCK)
    assert "predictions: 1 of " in said(exercises.progress)
    assert said(exercises.compare, NAME, counted=1) == "you: 5; counted: 1\n"


def test_a_file_deleted_meanwhile_begins_anew(file, said):
    exercises.predict(NAME, 5000)
    exercises.predict("01-deeper", "8 layers")
    file.unlink()
    file.parent.rmdir()
    told = said(exercises.compare, NAME, counted=4672)
    assert told.splitlines()[-1] == "you: 5,000; counted: 4,672"
    assert kept.entries(kept.PREDICTIONS).keys() == {NAME}


def trouble(where, tmp_path):
    """Return a path at which nothing can be kept."""
    (tmp_path / "a file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "folder").mkdir()
    return {
        "below a file": tmp_path / "a file" / "progress.json",
        "a folder": tmp_path / "folder",
        "read-only": tmp_path / "closed" / "progress.json",
        "nobody's": "~no_such_user/progress.json",
    }[where]


@pytest.mark.parametrize("where", ["below a file", "a folder", "read-only", "nobody's"])
def test_a_place_that_cannot_be_written_costs_one_line(where, tmp_path, monkeypatch, said):
    if where == "read-only" and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    monkeypatch.setenv("RESNET_LIB_PROGRESS", str(trouble(where, tmp_path)))
    told = said(exercises.predict, NAME, 5000) + said(exercises.check, "02-parameters", 57728)
    told += said(exercises.compare, NAME, counted=4672) + said(exercises.progress)
    lines = [line for line in told.splitlines() if line.startswith("resnet_lib: ")]
    assert len(lines) == 1
    assert lines[0].startswith("resnet_lib: your answers and predictions are not kept: ")
    assert "you: 5,000; counted: 4,672" in told
    assert "\ncorrect: " in told


def test_what_is_no_file_is_never_replaced(file, said, monkeypatch):
    # /dev/null reads as an empty file would; to set it aside would take it from everybody.
    file.parent.mkdir()
    file.write_text("")
    monkeypatch.setattr(kept.Path, "is_file", lambda path: False)
    assert said(exercises.predict, NAME, 5000).endswith(f"not kept: {file} is not a file\n")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_text() == ""


def test_a_full_disk_costs_one_line_and_loses_nothing(file, said, monkeypatch):
    keep("x")
    monkeypatch.setattr(kept.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    told = said(exercises.predict, NAME, 5000)
    assert told.count("\n") == 2
    assert "not kept: [Errno 28] full" in told
    assert kept.entries(kept.PREDICTIONS).keys() == {"x"}


def test_a_link_to_a_file_stays_a_link(file, tmp_path):
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere.json")
    keep("x")
    assert file.is_symlink()
    assert "x" in (tmp_path / "elsewhere.json").read_text()


def test_a_link_to_itself_is_told(file, said):
    file.parent.mkdir()
    file.symlink_to(file)
    assert "resnet_lib: your answers and predictions are not kept: " in said(keep, "x")


def test_a_file_that_only_its_owner_may_read_stays_so(file):
    keep("x")
    file.chmod(0o600)
    keep("y")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("named", ["mine.json", "answers/mine.json"])
def test_a_path_that_depends_on_the_folder_is_refused(named, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LIB_PROGRESS", named)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=f"to be an absolute path.*'{named}'; .*{tmp_path}/{named}"
    ):
        kept.place()


def test_a_guess_that_is_taken_back_stays_and_a_line_says_so(file, said):
    exercises.predict(NAME, 5000)
    assert said(exercises.predict, NAME, ...).endswith("Your earlier guess stays: 5,000\n")
    assert said(exercises.compare, NAME, counted=4672) == "you: 5,000; counted: 4,672\n"
    assert "predicted: 5,000; counted: 4,672\n" in said(exercises.progress)


def test_to_forget_is_to_rename(file):
    assert kept.set_aside() is None
    keep("x")
    content = file.read_text()
    old, new = kept.set_aside()
    assert old == file
    assert new.read_text() == content
    assert kept.entries(kept.PREDICTIONS) == {}


def test_the_file_holds_no_path_and_no_name_of_the_machine(file):
    exercises.check(BLOCK, cell(MINE)["mine"])
    exercises.predict(NAME, 5000)
    text = file.read_text()
    for private in (str(Path.home()), str(file.parent), os.uname().nodename):
        assert private not in text


# Sources


def runnable(source, name, original=None):
    found, code = sources.runnable(cell(source)[name])
    assert found == (original or name)
    return code


USES = """
import math
import numpy as np
import keras.layers as kl
from keras import ops as K
from keras.layers import ReLU
from math import pi
from resnet_lib import blocks
from resnet_lib.blocks import bottleneck_block as theirs

RATE, SIZES = 0.1, (1, 2)
MODEL = object()

class Part:
    factor = 2

    def times(self, value):
        return value * self.factor

def inner(value):
    return outer(value) if value < 0 else value

def outer(value):
    y = [math.floor(pi), np.pi, kl, K.abs, ReLU, blocks, theirs, RATE, SIZES, print]
    return inner(Part().times(value)) if y else MODEL
"""


def test_a_source_comes_with_what_it_uses():
    lines = runnable(USES, "outer").splitlines()
    head = lines[: lines.index("")]
    assert set(head) == {
        "import math",
        "import numpy as np",
        "from keras import layers as kl",
        "from keras import ops as K",
        "from keras.layers import ReLU",
        "pi = 3.141592653589793",
        "from resnet_lib import blocks",
        "from resnet_lib.blocks import bottleneck_block as theirs",
        "RATE = 0.1",
        "SIZES = (1, 2)",
        "# It also uses `MODEL`, a object.",
    }
    names = cell("\n".join(lines))
    assert names["outer"](21) == 42


def test_a_class_of_a_notebook_is_found_by_its_methods():
    assert runnable(USES, "Part").startswith("class Part:\n    factor = 2\n")


@pytest.mark.parametrize(
    "source",
    [
        "import functools\nf = functools.partial(print, 1)",
        "import numpy as np\nf = np.add",
        "f = [lambda x: x, 1][0]\nf",
        "f = eval('lambda x: x')",
        "(lambda g: globals().update(f=g))(lambda x: x)",
        "class f:\n    x = 1",
    ],
)
def test_what_has_no_source_is_kept_without(source):
    assert sources.runnable(cell(source)["f"]) is None


def test_a_lambda_with_a_name_is_kept():
    source = "import numpy as np\nflip = lambda x: np.flip(x)"
    assert runnable(source, "flip") == "import numpy as np\n\n\nflip = lambda x: np.flip(x)"


def test_a_function_of_a_library_is_imported():
    found = sources.runnable(resnet_lib.blocks.bottleneck_block)
    assert found == ("bottleneck_block", "from resnet_lib.blocks import bottleneck_block")


def test_a_function_made_by_a_function_comes_with_its_values():
    source = "def make(n):\n    def times(x):\n        return n * x\n    return times\nf = make(3)"
    assert runnable(source, "f", "times") == "n = 3\n\n\ndef times(x):\n    return n * x"


# In kernels

FIRST = [
    "import resnet_lib as rl",
    "BLOCKS = 6",
    "class Rule:\n    def split(self, depth):\n        return divmod(depth - 2, BLOCKS)",
    "def n_of(depth):\n    n, rest = Rule().split(depth)\n    return n if n > 0 == rest else None",
    'rl.exercises.check("03-depth", n_of)\nrl.exercises.predict("03-constant", "nothing")',
]
SECOND = [
    "import resnet_lib as rl",
    'rl.exercises.recall("03-depth")',
    'rl.exercises.recall("03-depth")',
    'rl.exercises.compare("03-constant", difference=0)',
]


def run_kernel(cells, replies=None):
    """Run cells in a new kernel; return what each printed."""
    from nbclient import NotebookClient
    from nbformat import v4

    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    noted = {} if replies is None else {"on_cell_executed": lambda **told: replies.append(told)}
    NotebookClient(notebook, timeout=300, kernel_name="python3", **noted).execute()
    return ["".join(each.text for each in cell.outputs) for cell in notebook.cells]


@pytest.mark.slow
def test_what_one_notebook_keeps_the_next_one_has(file):
    assert run_kernel(FIRST)[-1].startswith("correct: ")
    replies = []
    printed = run_kernel(SECOND, replies)
    assert "your function stands in the next cell" in printed[1]
    assert "stands in a cell already" in printed[2]
    assert printed[3] == "you: nothing; difference: 0\n"
    payloads = [told["execute_reply"]["content"]["payload"] for told in replies]
    ((payload,),) = filter(None, payloads)
    assert (payload["source"], payload["replace"]) == ("set_next_input", False)
    assert 'rl.exercises.check("03-depth", n_of)' in payload["text"]
