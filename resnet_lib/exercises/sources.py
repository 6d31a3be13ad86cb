"""The source of what a reader wrote, with all that it takes to run it in another notebook."""

import ast
import builtins
import inspect
import linecache
import symtable
import sys
import textwrap
import types
from collections.abc import Callable

_LITERALS = (bool, int, float, complex, str, bytes, tuple, list, dict, set, type(None))


def runnable(function: Callable) -> tuple[str, str] | None:
    """Return a function's or class's name and code that defines it; None if it has no source.

    Before it come the imports of the names that it uses, the constants, and the functions and
    classes of its own module. Other values are named in a comment, for they have no source.
    """
    return _with_all_it_uses(function, _collect)


def defined(function: Callable) -> str:
    """Return code that defines a function of the library, for a reader to look at and to run."""
    return _with_all_it_uses(function, _define)[1]


def _with_all_it_uses(function, add):
    if not isinstance(function, types.FunctionType | type):
        return None
    parts = {"import": [], "constant": [], "comment": [], "code": []}
    try:
        name = _name(function)
        add(name, function, _surroundings(function), parts, set())
    except Exception:  # Whatever a strange answer does, the verdict has been told.
        return None
    head = "\n".join(parts["import"] + parts["constant"] + parts["comment"])
    return name, "\n\n\n".join(filter(None, [head, *parts["code"]]))


def _name(function):
    """Return a function's name; of a lambda, the one that it was given."""
    if function.__name__ != "<lambda>":
        return function.__name__
    (statement,) = ast.parse(source_of(function)).body
    return statement.targets[0].id


def _surroundings(function):
    """Return {name: value} of what a function or class can use."""
    methods = [each for each in vars(function).values() if isinstance(each, types.FunctionType)]
    for found in [function] if isinstance(function, types.FunctionType) else methods:
        cells = (cell.cell_contents for cell in found.__closure__ or ())
        return found.__globals__ | dict(zip(found.__code__.co_freevars, cells, strict=True))
    return vars(sys.modules[function.__module__])


def _collect(name, value, names, parts, seen):
    """Put into `parts` what it takes to give `name` its value, each thing before what uses it."""
    if name in seen:
        return
    seen.add(name)
    if line := _import(name, value):
        parts["import"].append(line)
    elif isinstance(value, types.FunctionType | type):
        _define(name, value, names, parts, seen)
    elif _is_literal(value):
        parts["constant"].append(f"{name} = {value!r}")
    else:
        parts["comment"].append(f"# It also uses `{name}`, a {type(value).__name__}.")


def _define(name, function, names, parts, seen):
    """Put a function's or class's source into `parts`, behind all that it uses."""
    source = source_of(function)
    for other in _used(source):
        if other in names and not hasattr(builtins, other):
            _collect(other, names[other], names, parts, seen)
    parts["code"].append(source)


def source_of(function: Callable) -> str:
    """Return the source of a function or class, as far to the left as it goes.

    Raises:
        OSError, TypeError: if there is none.
        SyntaxError: if it cannot stand alone, as a lambda in a call.
    """
    if isinstance(function, type) and function.__module__ == "__main__":
        source = _class_in_a_cell(function)
    else:
        source = textwrap.dedent(inspect.getsource(function)).rstrip()
    (statement,) = ast.parse(source).body
    is_lambda = isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Lambda)
    if not (is_lambda or isinstance(statement, ast.FunctionDef | ast.ClassDef)):
        raise SyntaxError("no definition")
    return source


def _class_in_a_cell(found):
    """Return the source of a class of a notebook, which `inspect` finds by its methods only."""
    for method in vars(found).values():
        if isinstance(method, types.FunctionType):
            text = "".join(linecache.getlines(method.__code__.co_filename))
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and node.name == found.__name__:
                    return textwrap.dedent(ast.get_source_segment(text, node, padded=True))
    raise OSError("no source")


def _used(source):
    """Return the names that a source takes from outside, in their order."""
    outside, tables = set(), [symtable.symtable(source, "answer", "exec")]
    for table in tables:  # It grows: functions in functions.
        top = table.get_type() == "module"
        symbols = [symbol for symbol in table.get_symbols() if symbol.is_referenced()]
        outside |= {symbol.get_name() for symbol in symbols if top or symbol.is_global()}
        tables += table.get_children()
    nodes = ast.walk(ast.parse(source))
    names = dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name))
    return [name for name in names if name in outside]


def _is_literal(value):
    """Say whether `repr` gives a value back."""
    try:
        return isinstance(value, _LITERALS) and ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError):
        return False


def _import(name, value):
    """Return the line that imports a value under a name; None if it is the notebook's own."""
    if isinstance(value, types.ModuleType):
        module, _, last = _public(value).rpartition(".")
        line = f"from {module} import {last}" if module else f"import {last}"
        return line if last == name else f"{line} as {name}"
    home = getattr(value, "__module__", None)
    if home in (None, "__main__") or home not in sys.modules:
        return None
    original = getattr(value, "__name__", name)
    if (module := _exporting(value, original)) is None:
        return None
    return f"from {module} import {original}" + ("" if original == name else f" as {name}")


def _public(module):
    """Return the shortest name under which a module can be imported."""
    found = [name for name, each in list(sys.modules.items()) if each is module]
    return min(found or [module.__name__], key=_privacy)


def _exporting(value, name):
    """Return the name of the most public module that has a value under a name."""
    package = value.__module__.partition(".")[0]
    found = [
        module
        for module, each in list(sys.modules.items())
        if module.partition(".")[0] == package and vars(each).get(name) is value
    ]
    return min(found, key=lambda module: _privacy(module, value.__module__), default=None)


def _privacy(module, home=None):
    """Return what a module is sorted by: public ones first, then short ones, then its home."""
    parts = module.split(".")
    private = any(part.startswith("_") for part in parts)
    return "src" in parts, private, len(parts), module != home, len(module)
