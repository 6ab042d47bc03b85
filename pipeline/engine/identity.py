"""What may change the numbers of an extractor, as a hash: the key of the cache."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a JSON-able value in canonical form.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_rows(rows: Iterable[Any]) -> str:
    """Return `digest` of the list of these values, of which one is in memory at a time.

    >>> digest_rows(iter([[1, "a"], [2, None]])) == digest([[1, "a"], [2, None]])
    True
    """
    found = hashlib.sha256(b"[")
    for number, row in enumerate(rows):
        found.update((b"," if number else b"") + _canonical(row))
    found.update(b"]")
    return found.hexdigest()


class Keys:
    """`digest` of ``[first, value]`` for many values, where ``first`` is long and the same in all.

    >>> Keys({"code": "x"})({"n": 1}) == digest([{"code": "x"}, {"n": 1}])
    True
    """

    def __init__(self, first: Any) -> None:
        self._begun = hashlib.sha256(b"[" + _canonical(first) + b",")

    def __call__(self, value: Any) -> str:
        """Return the key of a value."""
        found = self._begun.copy()
        found.update(_canonical(value) + b"]")
        return found.hexdigest()


def _strip_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """Return a hash of the code of ``modules`` that comments, docstrings and layout do not change.

    A cache that outlives a change of the code is stale in the worst way: silently. A package name stands for all the
    modules below it but ``config.py``, whose values are in the key already.
    """
    files: dict[str, Path] = {}
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module {name!r} to fingerprint")
        origin = Path(spec.origin)
        if origin.name != "__init__.py":
            files[name] = origin
            continue
        for path in origin.parent.rglob("*.py"):
            if path.name != "config.py":
                files[f"{name}/{path.relative_to(origin.parent).as_posix()}"] = path
    trees = {
        key: ast.dump(_strip_docstrings(ast.parse(path.read_text(encoding="utf-8"))))
        for key, path in sorted(files.items())
    }
    return digest(trees)


def differences(here: Any, there: Any, *, name: str = "") -> list[str]:
    """Say where two JSON-able values differ, a line a place.

    >>> differences({"packages": {"av": "18.0"}, "code": "x"}, {"packages": {"av": "17.1"}, "code": "x"})
    ['packages.av: 18.0 here, 17.1 there']
    """
    if isinstance(here, dict) and isinstance(there, dict):
        keys = list(dict.fromkeys([*here, *there]))
        return [
            line
            for key in keys
            for line in differences(here.get(key), there.get(key), name=f"{name}.{key}" if name else str(key))
        ]
    return [] if here == there else [f"{name}: {here} here, {there} there"]


def identity(extractor: Any) -> dict[str, Any]:
    """Return everything about an extractor that may change its numbers: config, code, library and tool versions."""
    return {
        "extractor": type(extractor).__name__,
        "config": extractor.config.model_dump(mode="json"),
        "code": code_digest(tuple(extractor.modules)),
        "packages": {name: importlib.metadata.version(name) for name in extractor.packages},
        "metadata": extractor.metadata(),  # names the external tools, such as the ffmpeg binary
    }
