"""placeholder until hosts.py is written"""


def processes():
    return 1


def is_first():
    return True


def agree(what, value):
    pass


def first_only(function):
    return function()


def shared(value):
    return value


def share_arrays(arrays):
    return arrays
