"""A pytest plugin: how the notebooks of this project, and a reader's own, are compared by nbval.

Every output is compared exactly, except in cells tagged `nbval-approx`. There, decimal numbers
(0.6931, -1.2e-05, 1,024.5) may differ by 2 % or by 0.002, whichever is more, and by the blanks in
front of them. All else must be equal there too: words, whole numbers (shapes, counts, epochs), how
many numbers there are.

A cell has 300 seconds unless --nbval-cell-timeout says otherwise. A kernel that has died is noticed
within seconds.
"""

CELL_TIMEOUT = 300.0


def pytest_load_initial_conftests(early_config):
    """Give nbval's cells our timeout: what is set before the options are read is their default."""
    early_config.option.nbval_cell_timeout = CELL_TIMEOUT


def pytest_configure(config):
    """Take part where nbval does; it need not even be installed elsewhere."""
    if config.getoption("nbval", False) or config.getoption("nbval_lax", False):
        from nbval_approx import notebook

        config.pluginmanager.register(notebook)
