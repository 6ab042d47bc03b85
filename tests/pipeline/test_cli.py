from __future__ import annotations

from typer.main import get_command

from pipeline.cli import app


def test_checks_are_commands_like_the_stages():
    assert list(get_command(app).commands) == [
        *(
            "synthesize",
            "segments",
            "audio",
            "acoustics",
            "functionals",
            "faces",
            "pseudo-labels",
            "shards",
            "orofacial",
        ),
        *("summary", "manifest", "simulate-votes", "use", "models"),
        *("inspect", "sensitivity", "compare-planted", "compare-aus", "talkers", "time-faces"),
    ]
