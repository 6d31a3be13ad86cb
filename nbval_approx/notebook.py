"""Notebooks, cells and kernels as nbval has them, but for what `nbval_approx` says."""

import copy
import math
import time
from queue import Empty

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from nbval_approx import SETTINGS
from nbval_approx.numbers import TAGS, settled_text

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
        """Start the kernel with the environment of `SETTINGS`."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in SETTINGS.items():
                patch.setenv(name, value)
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
    """A code cell, some of whose numbers may differ where a tag says so."""

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
        """Compare as nbval does, in a tagged cell after taking the saved spelling of freed numbers.

        Args:
            test: the outputs of this run.
            ref: the saved outputs.
            skip_compare: keys that are not compared; nbval's own if None.

        Returns:
            Whether they are the same; if not, `comparison_traceback` says why.
        """
        notes = []
        tags = TAGS.keys() & self.cell.metadata.get("tags", [])
        if tags:
            test = settled(test, ref, tags, notes)
        same = super().compare_outputs(test, ref, skip_compare)
        if not same:
            self.comparison_traceback[:0] = notes
        return same


def settled(test, ref, tags, notes):
    """Return the outputs `test`, with the freed numbers of `ref` in place of theirs."""
    test = copy.deepcopy(test)
    for new, saved in zip(test, ref, strict=False):
        for new_texts, saved_texts in zip(texts(new), texts(saved), strict=False):
            for key in new_texts.keys() & saved_texts.keys():
                if key.startswith("text"):
                    new_texts[key] = settled_text(new_texts[key], saved_texts[key], tags, notes)
    return test


def texts(output):
    """Return the dictionaries of an output that hold its texts."""
    return [output, output.get("data", {})]
