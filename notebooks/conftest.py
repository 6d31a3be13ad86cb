"""How nbval compares the notebooks of this folder.

Every output is compared exactly, except in cells tagged `nbval-approx`. There, decimal numbers
(0.6931, -1.2e-05, 1,024.5) may differ by 2 % or by 0.002, whichever is more, and by the blanks in
front of them. All else must be equal there too: words, whole numbers (shapes, counts, epochs), how
many numbers there are.
"""

import copy
import math
import os
import re

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

RELATIVE, ABSOLUTE = 2e-2, 2e-3
# A point or an exponent makes a number decimal. Not in a word (conv2.1) nor in a version (2.21.0).
DECIMAL = re.compile(
    r" *(?<![\w.])[-+]?(?:\d[\d,]*\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)(?!\d|\.\d)"
)

# The notebooks were built this way (see build.py).
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.pop("RESNET_LIB_PROFILE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """Replace nbval's notebook by ours."""
    collectors = yield
    return [
        Notebook.from_parent(parent, path=file_path) if type(c) is IPyNbFile else c
        for c in collectors
    ]


class Notebook(IPyNbFile):
    """A notebook in which cells tagged `nbval-approx` are compared by `ApproximateCell`."""

    def collect(self):
        """Yield the code cells."""
        for cell in super().collect():
            yield ApproximateCell.copy_of(cell) if is_approximate(cell) else cell


def is_approximate(item):
    """Say whether a test item's cell is tagged `nbval-approx`."""
    return "nbval-approx" in item.cell.metadata.get("tags", [])


class ApproximateCell(IPyNbCell):
    """A code cell whose outputs may differ a little in their decimal numbers."""

    @classmethod
    def copy_of(cls, item):
        """Return the test item of the same cell, compared approximately."""
        return cls.from_parent(
            item.parent,
            name=item.name,
            cell_num=item.cell_num,
            cell=item.cell,
            options=item.options,
        )

    def compare_outputs(self, test, ref, skip_compare=None):
        """Compare as nbval does, after taking the saved spelling of numbers that are close."""
        notes = []
        same = super().compare_outputs(settled(test, ref, notes), ref, skip_compare)
        if not same:
            self.comparison_traceback[:0] = notes
        return same


def settled(test, ref, notes):
    """Return the outputs `test`, with numbers close to those of `ref` replaced by them."""
    test = copy.deepcopy(test)
    for new, saved in zip(test, ref, strict=False):
        for new_texts, saved_texts in zip(texts(new), texts(saved), strict=False):
            for key in new_texts.keys() & saved_texts.keys():
                if key.startswith("text"):
                    new_texts[key] = settled_text(new_texts[key], saved_texts[key], notes)
    return test


def texts(output):
    """Return the dictionaries of an output that hold its texts."""
    return [output, output.get("data", {})]


def settled_text(new, saved, notes):
    """Return `new` with numbers close to those of `saved` replaced by them; note the others."""
    if DECIMAL.split(new) != DECIMAL.split(saved):
        return new
    pairs = zip(DECIMAL.findall(new), DECIMAL.findall(saved), strict=True)
    chosen = iter([settled_number(*pair, notes) for pair in pairs])
    return DECIMAL.sub(lambda match: next(chosen), new)


def settled_number(new, saved, notes):
    """Return `saved` if the two numbers are close, else `new`, with a note."""
    received, expected = (float(text.replace(",", "")) for text in (new, saved))
    if math.isclose(received, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
        return saved
    notes.append(
        f"nbval-approx: expected {saved.strip()} within {RELATIVE:.0%} or {ABSOLUTE},"
        f" received {new.strip()}"
    )
    return new
