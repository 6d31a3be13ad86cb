"""Notebooks, cells and kernels as nbval has them, but for what `nbval_approx` says."""

import copy
import math
import re
import time
from queue import Empty

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

RELATIVE, ABSOLUTE = 2e-2, 2e-3
# A point or an exponent makes a number decimal. Not in a word (conv2.1) nor in a version (2.21.0).
DECIMAL = re.compile(
    r" *(?<![\w.])[-+]?(?:\d[\d,]*\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)(?!\d|\.\d)"
)
# Seconds between two looks at whether a kernel still lives.
LOOK = 1.0


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """Replace nbval's notebook by ours."""
    collectors = yield
    return [
        Notebook.from_parent(parent, path=file_path) if type(c) is IPyNbFile else c
        for c in collectors
    ]


class Notebook(IPyNbFile):
    """A notebook of `Cell`s that runs in a `Kernel`."""

    def setup(self):
        """Start the kernel."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nbval.plugin, "RunningKernel", Kernel)
            super().setup()

    def collect(self):
        """Yield the code cells."""
        for item in super().collect():
            yield Cell.from_parent(
                self,
                name=item.name,
                cell_num=item.cell_num,
                cell=item.cell,
                options=item.options,
            )


class DeadKernelError(Exception):
    """A kernel whose process has ended while something was awaited from it."""


class Kernel(RunningKernel):
    """A kernel that is waited for only as long as its process lives."""

    def get_message(self, stream, timeout=None):
        """Return the next message of a stream; raise Empty if none comes in time."""
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            left = deadline - time.monotonic()
            try:
                return super().get_message(stream, timeout=min(left, LOOK))
            except Empty:
                if not self.is_alive():
                    raise DeadKernelError from None
                if left <= LOOK:
                    raise


class Cell(IPyNbCell):
    """A code cell; tagged `nbval-approx`, its decimal numbers may differ a little."""

    def runtest(self):
        """Run and compare the cell."""
        try:
            super().runtest()
        except DeadKernelError:
            self.raise_cell_error(
                "The kernel died in this cell: its process ended itself, or was ended, as it is"
                " when memory runs out."
            )

    def compare_outputs(self, test, ref, skip_compare=None):
        """Compare as nbval does, in a tagged cell after taking the saved spelling of close numbers.

        Args:
            test: the outputs of this run.
            ref: the saved outputs.
            skip_compare: keys that are not compared; nbval's own if None.

        Returns:
            Whether they are the same; if not, `comparison_traceback` says why.
        """
        notes = []
        if "nbval-approx" in self.cell.metadata.get("tags", []):
            test = settled(test, ref, notes)
        same = super().compare_outputs(test, ref, skip_compare)
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
