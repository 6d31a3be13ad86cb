"""CONTRIBUTING.md: the three changes that it shows are carried out on a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (A new [\w ]+)\n(.*?)(?=^## |\Z)", TEXT, flags=re.M | re.S))
FILES = {"A new block": 1, "A new recipe": 1, "A new data set": 2}
PRINTED = """\
stem: 32x32x16
stage1: 32x32x16, 2 blocks
stage2: 16x16x32, 2 blocks
cosine
stripes, seed 0
"""


def code(section):
    """Return [(kind, first line, the rest)] of a section's blocks of code."""
    return re.findall(r"^```(\w+)\n# (.*?)\n(.*?)^```$", section, flags=re.M | re.S)


def changes():
    """Yield (section, file, how, lines) for each change of a file."""
    for title, section in SECTIONS.items():
        for kind, first, body in code(section):
            if first != "try":
                file, _, place = first.partition(": ")
                yield title, file, "diff" if kind == "diff" else place, body


def changed(text, how, body):
    """Return a file's text with a change: code above a line, a new file, or lines exchanged."""
    if how == "new":
        assert text is None
        return body
    if how == "diff":
        old = "".join(line[1:] for line in body.splitlines(True) if line[0] == "-")
        added = [line[1:] for line in body.splitlines(True) if line[0] == "+"]
        after = "".join(line[1:] for line in body.splitlines(True) if line[0] == " ")
        for line in (old, after):
            assert text.count(line) == 1, line
        return text.replace(after, after + added[0]).replace(old, added[1])
    (above,) = re.findall(r'above "(.*)"', how)
    assert text.count(f"\n{above}") == 1, above
    return text.replace(f"\n{above}", f"\n{body}\n\n{above}", 1)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "resnet_lib", folder / "resnet_lib")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for _, file, how, body in changes():
        path = folder / file
        text = path.read_text(encoding="utf-8") if path.exists() else None
        path.write_text(changed(text, how, body), encoding="utf-8")
    return folder


def test_each_change_touches_the_files_that_it_says_and_is_short():
    assert SECTIONS.keys() == FILES.keys()
    touched = {title: [file for t, file, _, _ in changes() if t == title] for title in FILES}
    assert {title: len(set(files)) for title, files in touched.items()} == FILES
    for title in FILES:
        assert sum(len(body.splitlines()) for t, _, _, body in changes() if t == title) <= 24


@pytest.mark.slow
def test_the_changes_do_what_the_text_says(copy):
    tries = [body for s in SECTIONS.values() for _, first, body in code(s) if first == "try"]
    program = "\n".join(["import resnet_lib as rl", "import keras", *tries])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wanted = PRINTED.splitlines()
    assert [line for line in done.stdout.splitlines() if line in wanted] == wanted


def test_the_changes_pass_the_style_check(copy):
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *check, "."], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
