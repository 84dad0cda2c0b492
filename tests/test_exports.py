"""What a module offers is in its `__all__`, in order; what is not there, no other module takes."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import streamd

ROOT = Path(streamd.__file__).parent


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
IMPORTABLE = [name for name in MODULES if not name.endswith("__main__")]


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def imports(name: str) -> Iterator[tuple[str, str]]:
    """Yield what a module takes from others of streamd: module and name."""
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                if f"{node.module}.{alias.name}" not in MODULES:
                    yield node.module, alias.name


def order(name: str) -> tuple[int, str]:
    """Return where a name stands in `__all__`: constants, classes, functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", IMPORTABLE)
def test_all_is_sorted_and_there(name: str) -> None:
    module = import_module(name)
    exported = list(getattr(module, "__all__", []))
    assert exported == sorted(set(exported), key=order)
    assert all(hasattr(module, each) for each in exported)
    assert not any(each.startswith("_") for each in exported)
    public = [
        node.name
        for node in parsed(name).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.name.startswith("_")
    ]
    if public:
        assert exported, "a module that defines something says what it offers"


@pytest.mark.parametrize("name", MODULES)
def test_what_others_take_is_offered(name: str) -> None:
    for module, taken in imports(name):
        if taken == "__version__":
            continue
        assert taken in import_module(module).__all__, f"{module} does not offer {taken}"


@pytest.mark.parametrize("name", IMPORTABLE)
def test_a_module_that_defines_something_says_what_it_is(name: str) -> None:
    if parsed(name).body:
        assert ast.get_docstring(parsed(name))
