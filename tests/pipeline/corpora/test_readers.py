"""What all readers share: refusals, terms, options and their place in the README."""

from __future__ import annotations

import pytest

from pipeline.corpora import CORPORA, make_reader, read_corpus
from pipeline.errors import InputError
from pipeline.manifest.row import COLUMNS, EMOTIONS
from tests import ROOT


@pytest.mark.parametrize("name", list(CORPORA))
def test_a_folder_without_the_corpus_is_refused_with_an_example(tmp_path, name):
    with pytest.raises(InputError, match=r"looked for names such as \S+"):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", list(CORPORA))
def test_every_reader_says_where_its_corpus_comes_from(name):
    about = CORPORA[name].about
    assert about.title
    assert about.source
    assert about.terms
    assert about.cite or name in ("csv", "folder")
    assert all(field.description for field in CORPORA[name].Options.model_fields.values())
    readme = (ROOT / "data_manifests" / "README.md").read_text()
    assert f"`{name}`" in readme
    assert all(f"`{option}`" in readme for option in CORPORA[name].Options.model_fields if name != "csv")


def test_the_schema_table_of_the_readme_is_complete():
    readme = (ROOT / "data_manifests" / "README.md").read_text()
    plain = [column for column in COLUMNS if not column.startswith("votes_")]
    assert [column for column in plain if f"| `{column}` |" not in readme] == []
    assert all(emotion in readme for emotion in EMOTIONS)


def test_unknown_names_are_answered_with_the_known_ones(tree):
    root = tree(["a.wav"])
    with pytest.raises(InputError, match="unknown corpus 'crema'; known: crema_d, csv"):
        read_corpus("crema", root)
    with pytest.raises(InputError, match=f"unknown corpus 'crema'; known: {', '.join(CORPORA)}$"):
        make_reader("crema", {})
    with pytest.raises(InputError, match=r"no option 'speeker'; did you mean 'speaker'.*Options: corpus"):
        read_corpus("folder", root, speeker="x")
    with pytest.raises(InputError, match=r"option media: .*'video'"):
        read_corpus("folder", root, media="films")
    with pytest.raises(InputError, match="there is no folder"):
        read_corpus("folder", root / "nowhere")
