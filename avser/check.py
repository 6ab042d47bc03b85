"""Check everything that can be wrong before hours of work: parameters of both halves and recipes, manifests, folds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.engine.files import replace_file
from pipeline.errors import InputError
from pipeline.params import Params
from pipeline.params import load_params as load_pipeline
from trainer.errors import InputError as TrainerError
from trainer.params import FinetuneParams
from trainer.params import Params as TrainerParams
from trainer.params import load_params as load_trainer

RECIPES = {"ablation": "AblationParams", "cluster": "ClusterParams", "controls": "ControlsParams",
           "orofacial": "OrofacialParams", "penalisation": "PenalisationParams",
           "sequence": "SequenceParams"}  # fmt: skip
SHOWN = 10  # rows of a manifest that are named one by one


@dataclass
class Findings:
    """What is wrong, and what was seen. Each problem names file, key and remedy.

    Attributes:
        problems: all of them.
        wrong_parameters: whether parameters are among them, so that no stage can be trusted to be what was meant.
        facts: what the manifests hold.
    """

    problems: list[str] = field(default_factory=list)
    wrong_parameters: bool = False
    facts: list[str] = field(default_factory=list)

    def try_to(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``work`` returns; where it refuses its input, note why and return None."""
        try:
            return work(*arguments)
        except (InputError, TrainerError) as error:
            self.problems.append(str(error))
            return None


def check(params: Path = Path("params.yaml")) -> Findings:
    """Return all that is wrong with a project, and what its manifests hold.

    A manifest of the synthetic corpus that has not been made yet is passed over.

    Args:
        params: the parameter file; recipes are looked for in ``recipes/`` beside it.
    """
    found = Findings()
    pipeline = found.try_to(load_pipeline, params)
    trainer = found.try_to(load_trainer, params)
    _check_recipes(params.parent / "recipes", found)
    found.wrong_parameters = bool(found.problems)
    if pipeline is None:
        return found
    tables = {name: _check_set(name, pipeline, found) for name in ("unlabelled", "labelled")}
    if trainer is not None and tables["labelled"] is not None:
        _check_labels(tables["labelled"], tables["unlabelled"], trainer, found)
    return found


def write_passed(out: Path) -> None:
    """Write the file that later stages wait for; its content never changes, so that they run for their own reasons."""
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, lambda place: place.write_text(json.dumps({"checked": True}) + "\n", encoding="utf-8"))


def _check_recipes(folder: Path, found: Findings) -> None:
    from trainer import params as sections

    for name, section in RECIPES.items():
        path = folder / name / "params.yaml"
        if path.is_file():
            found.try_to(sections.load_recipe, path, getattr(sections, section))


def _check_set(name: str, params: Params, found: Findings) -> pd.DataFrame | None:
    """Check the manifest of a set and its files; return its usable rows."""
    from pipeline.engine.names import locate
    from pipeline.manifest.table import check_manifest
    from pipeline.stages.synthesize import is_synthetic

    chosen = params.set(name)
    if not chosen.manifest.is_file() and is_synthetic(chosen.manifest):
        found.facts.append(f"{name}: the synthetic corpus, not made yet")
        return None
    checked = found.try_to(check_manifest, chosen.manifest, chosen.root)
    if checked is None:
        return None
    table, problems = checked
    found.problems += [f"{chosen.manifest}, {problem.message}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        found.problems.append(f"{chosen.manifest}: {len(problems) - SHOWN} more rows are wrong")
    missing = [path for path in table["path"] if not locate(chosen.root / path).is_file()]
    if missing and len(missing) == len(table):
        found.problems.append(
            f"{chosen.manifest}: none of its {len(table)} files is below the root {chosen.root}, e.g. {missing[0]}; "
            f"correct sets.{name}.root in params.yaml"
        )
    elif missing:  # a few are quarantined by the segments stage, with a row each
        found.facts.append(f"{name}: {len(missing)} of {len(table)} files are missing, e.g. {missing[0]}")
    speakers = table[["corpus", "speaker"]].drop_duplicates()
    found.facts.append(f"{name}: {len(table)} clips of {len(speakers)} speakers ({chosen.manifest})")
    return table


def _check_labels(
    labelled: pd.DataFrame, unlabelled: pd.DataFrame | None, params: TrainerParams, found: Findings
) -> None:
    """Check that the target has labels, that folds can be made of them, and that no test speaker teaches."""
    options = params.finetune
    rows = labelled.assign(segment_id=labelled["clip_id"]).astype(object).where(labelled.notna(), None)
    chosen = found.try_to(_merged, rows, options)
    if chosen is None:
        return
    rows = chosen
    if options.objective == "hard":
        if options.target not in rows or rows[options.target].isna().all():
            found.problems.append(
                f"no row of the labelled manifest has a label in column {options.target!r} (finetune.target); fill it, "
                "or name another column"
            )
            return
        rows = rows[rows[options.target].notna()]
    for corpus, group in rows.groupby("corpus", sort=True):
        for fact in _classes(str(corpus), group, params, found):
            found.facts.append(fact)
    if unlabelled is not None and not options.allow_pretrain_speakers and options.needs_parent:
        shared = {*zip(rows["corpus"], rows["speaker"], strict=True)}
        shared &= {*zip(unlabelled["corpus"], unlabelled["speaker"], strict=True)}
        names = ", ".join(f"{corpus}/{speaker}" for corpus, speaker in sorted(shared)[:5])
        if shared and params.pretrain.per_fold:
            found.facts.append(
                f"{len(shared)} speakers are in both manifests ({names}): each fold pretrains without those it tests"
            )
        elif shared:
            found.problems.append(
                f"{len(shared)} speakers are in both manifests ({names}): they would be tested after being heard in "
                "pretraining; set pretrain.per_fold, leave them out of one, or set finetune.allow_pretrain_speakers, "
                "which every result names"
            )


def _merged(rows: pd.DataFrame, options: FinetuneParams) -> pd.DataFrame:
    from trainer.finetuning.classes import merged

    return merged(rows, options, where="the labelled manifest")


def _classes(corpus: str, rows: pd.DataFrame, params: TrainerParams, found: Findings) -> Iterator[str]:
    from trainer.data.splits import folds

    options = params.finetune
    if options.objective == "hard":
        counts = rows[options.target].value_counts()
        yield f"{corpus}: " + ", ".join(f"{name} {count}" for name, count in counts.items())
        if len(counts) < 2:
            found.problems.append(f"{corpus}: all labels are {counts.index[0]!r}; recognition needs two classes")
            return
    if options.folds == "corpus":
        return
    made = found.try_to(_named_folds, corpus, folds, rows.reset_index(drop=True), options)
    if made:
        speakers = [rows.iloc[fold.test]["speaker"].nunique() for fold in made]
        yield f"{corpus}: {len(made)} folds, tested speakers {', '.join(map(str, speakers))}"


def _named_folds(corpus: str, folds: Callable[..., Any], rows: pd.DataFrame, options: Any) -> Any:
    try:
        return folds(rows, how=options.folds, dev="fold" if options.dev == "fold" else "speakers")
    except TrainerError as error:
        raise TrainerError(f"{corpus}: {error}") from None
