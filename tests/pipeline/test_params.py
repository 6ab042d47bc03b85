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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot be read as text in UTF-8"),
        (b"sets: 2020-13-45", "not valid YAML"),
        (b"sets: !!int x", "not valid YAML"),
        (b"sets: !!timestamp x", "not valid YAML"),
        (b"[" * 20000, "not valid YAML"),
        (b"? [a]\n: b", "not valid YAML"),
        (b"run: {item_timeout: .inf}", r"run.item_timeout: .*finite"),
        (b"run: {item_timeout: .nan}", r"run.item_timeout: .*finite"),
        (b"a: &a [x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nrun: {workers: [*b,*b,*b,*b,*b,*b,*b]}", r"run\.workers"),
    ],
)
def test_files_that_are_no_parameters_are_named(tmp_path, content, message):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(InputError, match=f"params.yaml(?s:.)*{message}") as error:
        load_params(tmp_path / "params.yaml")
    assert len(str(error.value)) < 4000
    (tmp_path / "params.yaml").unlink()
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_params(tmp_path / "params.yaml")


def test_the_home_is_known_in_the_sets(project, tmp_path, monkeypatch):
    folder, params = project
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "media").mkdir()
    (folder / "roots.yaml").write_text("labelled: ~/media\n")
    assert use_manifests(folder, params=params)["labelled"].root == tmp_path / "media"
    params.write_text(params.read_text().replace(str(tmp_path / "media"), "~/media"))
    assert load_params(params).sets.labelled.root == tmp_path / "media"


def test_dvc_watches_the_roots_but_for_one_that_holds_its_outputs(project, tmp_path):
    folder, params = project
    use_manifests(folder, params=params)
    assert load_params(params).watch.labelled == folder
    (folder / "roots.yaml").write_text("labelled: ..\n")  # holds params.yaml, and data/ beside it
    use_manifests(folder, params=params)
    watch = load_params(params).watch
    assert (watch.unlabelled, watch.labelled) == (folder, folder / "labelled.csv")
