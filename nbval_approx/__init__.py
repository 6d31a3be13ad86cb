"""A pytest plugin: how the notebooks of this project, and a reader's own, are compared by nbval.

Every output is compared exactly, but for the numbers that a cell's tags free:

==================  ==============================================  ===============================
tag                 frees                                           which may differ by
==================  ==============================================  ===============================
``nbval-approx``    decimal numbers (0.6931, -1.2e-05, 1,024.5)     2 % or 0.002, whichever is more
``nbval-accuracy``  decimal numbers from 0 to 1, and in per cent    0.05; in per cent by 5
                    decimal and whole numbers from 0 to 100
``nbval-loss``      decimal numbers that are not in per cent        a quarter of the saved number
``nbval-time``      every number                                    as much as they like
==================  ==============================================  ===============================

A decimal number has a point or an exponent; one in per cent has "%" or " %" behind it. The blanks
in front of a freed number may differ with its width. All else must be equal: words, the whole
numbers that no tag frees (shapes, counts, epochs), how many numbers there are. NaN and infinity are
words, hence refused in a number's place. Digits within a word are part of it under every tag:
those of float32, ResNet-50, 20-layer, 32x32, 16/20, 3.15.1. What a number becomes must be of the
freed kind as well: an accuracy stays between 0 and 1, a decimal number decimal.

With several tags on a cell, each number must satisfy one of those that free its kind; but where
`nbval-accuracy` is among them, numbers in per cent are judged by that alone. So print accuracies in
per cent beside losses and times. `nbval-time` frees a loss beside it altogether: give times, and
what hangs on the last bit of a long computation, a cell of their own, and print no count in it that
matters. The wide tags are for final figures.

A kernel is started with RESNET_LIB_WIDGETS=0, so that it draws figures where JupyterLab shows
widgets, and RESNET_LIB_PROGRESS=off, so that no run reads or changes what a reader has done.

A cell has 300 seconds unless --nbval-cell-timeout says otherwise. A kernel that has died is noticed
within seconds.
"""

CELL_TIMEOUT = 300.0
# What the kernels find in their environment, whatever is set outside.
SETTINGS = {"RESNET_LIB_WIDGETS": "0", "RESNET_LIB_PROGRESS": "off"}


def pytest_load_initial_conftests(early_config):
    """Give nbval's cells our timeout: what is set before the options are read is their default."""
    early_config.option.nbval_cell_timeout = CELL_TIMEOUT


def pytest_configure(config):
    """Take part where nbval does; it need not even be installed elsewhere."""
    if config.getoption("nbval", False) or config.getoption("nbval_lax", False):
        from nbval_approx import notebook

        config.pluginmanager.register(notebook)
