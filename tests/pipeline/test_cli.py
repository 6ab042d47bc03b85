from __future__ import annotations

import errno
import shutil

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipeline import cli
from pipeline.cli import app
from pipeline.errors import InputError
from tests import ROOT


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
        *("summary", "manifest", "simulate-votes", "translate", "use", "models"),
        *("inspect", "browse", "sensitivity", "compare-planted", "compare-aus", "talkers", "time-faces"),
    ]


@pytest.mark.parametrize(
    "command",
    ["segments labelled", "audio labelled", "acoustics labelled", "functionals labelled", "faces unlabelled",
     "pseudo-labels", "shards unlabelled", "shards labelled", "orofacial", "summary", "inspect x", "sensitivity",
     "compare-planted", "compare-aus no.csv"],
)  # fmt: skip
def test_a_command_before_its_tables_says_what_is_missing(command, tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, command.split()).exception
    assert isinstance(error, InputError)
    assert "data/" in str(error)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("wrong"), 2, "error: wrong"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), 2, "error: /data/x: Read-only file system"),
        (MemoryError(), 2, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_mistake_and_a_fault_of_the_surrounding_end_in_a_sentence(error, status, words, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == status
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown
