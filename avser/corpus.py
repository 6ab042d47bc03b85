"""A published corpus by its published protocol: manifests and parameters in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline.config import Config
from pipeline.corpora import make_manifest
from pipeline.errors import InputError
from pipeline.params import read_yaml, set_values, use_manifests
from trainer.params import Params

RECIPES = Path("recipes/corpora")


class Source(Config):
    """A reader of `pipeline.corpora` and its options."""

    corpus: str
    options: dict[str, str] = Field(default={})


class CorpusRecipe(Config):
    """A file of ``recipes/corpora``: what is read as labelled set and as films, and parameters by dotted keys."""

    labelled: Source
    films: Source | None = Field(None, description="films whose faces teach; null: those that params.yaml names")
    params: dict[str, Any] = Field(default={})


def read_recipe(name: str, *, folder: Path = RECIPES) -> CorpusRecipe:
    """Read the recipe of a corpus.

    Raises:
        InputError: there is none of this name, or it is wrong.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yaml"))) or "none"
        raise InputError(f"no recipe for a corpus {name!r} in {folder}; there are: {known}")
    try:
        return CorpusRecipe.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {error}") from None


def prepare(
    name: str, root: Path, *, folder: Path | None = None, params: Path = Path("params.yaml"), recipes: Path = RECIPES
) -> list[str]:
    """Write the manifests of a corpus and its published settings into ``params``.

    Args:
        name: of a file in ``recipes``.
        root: where the corpus lies, in the layout it is published in.
        folder: gets labelled.csv, unlabelled.csv and roots.yaml; None: data_manifests/<name>.
        params: parameter file to edit; its comments and all other values stay.
        recipes: folder of the recipes.

    Returns:
        Lines that say what was found and which parameters changed.

    Raises:
        InputError: there is no such recipe, the root is not the corpus, or a parameter is wrong.
    """
    recipe = read_recipe(name, folder=recipes)
    if not root.is_dir():
        raise InputError(f"{root} is no folder: name the one that holds the corpus")
    folder = folder or Path("data_manifests") / name
    folder.mkdir(parents=True, exist_ok=True)
    said, roots = [], []
    for side, source in (("labelled", recipe.labelled), ("unlabelled", recipe.films)):
        manifest = folder / f"{side}.csv"
        manifest.unlink(missing_ok=True)
        if source is None:
            continue
        said.append(str(make_manifest(source.corpus, root=root, output=manifest, options=source.options)))
        roots.append(f"{side}: {root.resolve()}\n")
    (folder / "roots.yaml").write_text("".join(roots), encoding="utf-8")
    for side, chosen in use_manifests(folder, params=params).items():
        said.append(f"{params}: {side}: manifest {chosen.manifest}, root {chosen.root}")
    wanted = _defaults_of_others(name, recipes) | recipe.params
    return said + [f"{params}: {change}" for change in set_values(params, wanted)]


def _defaults_of_others(name: str, recipes: Path) -> dict[str, Any]:
    """Return the defaults of what other recipes set, so that one corpus after another leaves no trace of the first."""
    shipped = Params().model_dump(mode="json")
    found: dict[str, Any] = {}
    for path in sorted(recipes.glob("*.yaml")):
        for key in read_recipe(path.stem, folder=recipes).params if path.stem != name else ():
            place: Any = shipped
            for part in key.split("."):
                place = place[part] if isinstance(place, dict) and part in place else None
            if place is not None:
                found[key] = place
    return found
