"""Every text file and every text of another program is read and written in a named encoding, whatever the locale."""

from __future__ import annotations

import ast

from tests import ROOT

OPENERS = {"open": 0, "read_text": 9, "write_text": 9}  # the position of the mode, if there is one


def unnamed(call: ast.Call) -> bool:
    """Tell whether a call deals with text and names no encoding."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if "encoding" in keywords or None in keywords:
        return False
    if name in ("run", "Popen", "check_output"):
        return "text" in keywords
    if not isinstance(call.func, ast.Attribute) or name not in OPENERS:
        return False
    if name == "open":
        modes = [arg.value for arg in [*call.args[:1], keywords.get("mode")] if isinstance(arg, ast.Constant)]
        return bool(modes) and "b" not in str(modes[0])
    return not (name == "read_text" and call.args) and not (name == "write_text" and len(call.args) > 1)


def test_every_text_names_its_encoding():
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for half in ("pipeline", "trainer")
        for path in sorted((ROOT / half).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and unnamed(node)
    ]
    assert not wrong
