"""Naming a folder of manifests in params.yaml."""

from __future__ import annotations

import shutil

import pytest

from pipeline.errors import InputError
from pipeline.params import load_params, use_manifests
from tests import ROOT


@pytest.fixture
def project(tmp_path):
    """Return a folder of two manifests and a copy of this project's params.yaml."""
    folder = tmp_path / "my manifests: #1"
    folder.mkdir()
    for name in ("unlabelled", "labelled"):
        (folder / f"{name}.csv").write_text("clip_id,corpus,path,speaker\n")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return folder, tmp_path / "params.yaml"


def test_only_the_sets_change(project, tmp_path):
    folder, params = project
    before = params.read_text()
    (tmp_path / "media").mkdir()
    (folder / "roots.yaml").write_text("labelled: ../media\n")
    use_manifests(folder, params=params)
    sets = load_params(params).sets
    assert sets.unlabelled.manifest == folder / "unlabelled.csv"
    assert sets.unlabelled.root == folder
    assert sets.labelled.root.resolve() == (tmp_path / "media").resolve()
    after = params.read_text()
    assert after[after.index("\nrun:") :] == before[before.index("\nrun:") :]
    assert after[: after.index("sets:")] == before[: before.index("sets:")]
    use_manifests(folder, params=params)
    assert params.read_text() == after


def test_without_films_those_of_the_file_stay(project):
    folder, params = project
    (folder / "unlabelled.csv").unlink()
    films = load_params(params).sets.unlabelled
    assert use_manifests(folder, params=params)["unlabelled"] == films
    sets = load_params(params).sets
    assert sets.unlabelled == films
    assert sets.labelled.manifest == folder / "labelled.csv"
    (folder / "roots.yaml").write_text("unlabelled: .\n")  # a root, and no manifest for it
    with pytest.raises(InputError, match=r"unlabelled\.csv is missing"):
        use_manifests(folder, params=params)


@pytest.mark.parametrize(
    ("content", "message"),
    [("labelled: nowhere", "is no folder"), ("films: .", "name nothing else"), ("[a]", "name nothing else")],
)
def test_wrong_roots_are_named_and_change_nothing(project, content, message):
    folder, params = project
    before = params.read_text()
    (folder / "roots.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        use_manifests(folder, params=params)
    assert params.read_text() == before


def test_missing_files_are_named(project, tmp_path):
    folder, params = project
    with pytest.raises(InputError, match=r"none\.yaml not found"):
        use_manifests(folder, params=tmp_path / "none.yaml")
    (folder / "labelled.csv").unlink()
    with pytest.raises(InputError, match=r"labelled\.csv is missing"):
        use_manifests(folder, params=params)
    params.write_text("run: {}\n")
    (folder / "labelled.csv").write_text("")
    with pytest.raises(InputError, match="sets: Field required"):
        use_manifests(folder, params=params)
