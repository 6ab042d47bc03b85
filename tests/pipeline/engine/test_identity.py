from __future__ import annotations

import sys

from pipeline.engine.identity import code_digest


def test_code_digest_sees_code_and_not_comments(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    texts = [
        "def f():\n    return 1\n",
        '"""Doc."""\n\n\ndef f():\n    """More."""\n    return 1  # why\n',
        "def f():\n    return 2\n",
    ]
    for text in texts:
        (tmp_path / "fingerprinted.py").write_text(text)
        code_digest.cache_clear()
        sys.modules.pop("fingerprinted", None)
        digests.append(code_digest(("fingerprinted",)))
    assert digests[0] == digests[1] != digests[2]
