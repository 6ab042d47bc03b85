"""The command line of the pipeline: one command a stage (what ``dvc.yaml`` calls), and a few for people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from pipeline.checks import cli as checks
from pipeline.checks.cli import read_params
from pipeline.errors import InputError, not_installed

if TYPE_CHECKING:
    from pipeline.params import Params

SetName = Literal["unlabelled", "labelled"]
SETS: tuple[SetName, ...] = ("unlabelled", "labelled")
OneOrBoth = Annotated[SetName | None, typer.Argument(help="One set; none: both.")]
INTERRUPTED = "interrupted; what is finished is kept: the same command goes on from there"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
models = typer.Typer(no_args_is_help=True, help="Downloadable weights of optional face backends.")
app.add_typer(models, name="models")
app.add_typer(checks.app)


def _each(run: Callable[[Params, SetName], None], name: SetName | None) -> None:
    """Run a stage for one set, or for both with the same worker processes."""
    from pipeline.engine.cluster import kept_workers

    params = read_params()
    with kept_workers():
        for one in (name,) if name else SETS:
            run(params, one)


@app.command()
def synthesize() -> None:
    """Make the embedded synthetic corpus, if a set in params.yaml uses it."""
    from pipeline.stages.synthesize import run_synthesize

    run_synthesize(read_params())


@app.command()
def segments(name: OneOrBoth = None) -> None:
    """Check a set's manifest and cut its clips into segments."""
    from pipeline.stages.segments import run_segments

    _each(run_segments, name)


@app.command()
def audio(name: OneOrBoth = None) -> None:
    """Extract every segment's sound: 16 kHz mono FLAC in Parquet."""
    from pipeline.stages.audio import run_audio

    _each(run_audio, name)


@app.command()
def acoustics(name: OneOrBoth = None) -> None:
    """Compute low-level descriptors, energy and voicing."""
    from pipeline.stages.acoustics import run_acoustics

    _each(run_acoustics, name)


@app.command()
def functionals(name: SetName) -> None:
    """Compute functionals, one vector a segment, for the baselines."""
    from pipeline.stages.functionals import run_functionals

    run_functionals(read_params(), name)


@app.command()
def faces(name: SetName) -> None:
    """Find faces: landmarks, head pose, action units."""
    from pipeline.stages.faces import run_faces

    run_faces(read_params(), name)


@app.command(name="pseudo-labels")
def pseudo_labels() -> None:
    """Make the labels that the face and the energy give: T1, T2, T3."""
    from pipeline.stages.pseudo_labels import run_pseudo_labels

    run_pseudo_labels(read_params())


@app.command()
def shards(name: SetName) -> None:
    """Join features and labels into the shards that the trainer reads."""
    from pipeline.stages.shards import run_shards

    run_shards(read_params(), name)


@app.command()
def orofacial() -> None:
    """Make the shards of the recipe orofacial: features, mouth trajectories, visemes."""
    from pipeline.stages.orofacial import run_orofacial

    run_orofacial(read_params())


@app.command()
def summary() -> None:
    """Count what went in, what came out and why not, print the labels a corpus; compare with a planted truth."""
    from pipeline.stages.summary import run_summary

    run_summary(read_params())


@app.command()
def manifest(
    corpus: Annotated[str, typer.Argument(help="name of a corpus reader; `list` prints them")],
    root: Annotated[Path, typer.Option(help="folder that holds the corpus")] = Path(),
    output: Annotated[Path, typer.Option("--output", "-o", help="manifest CSV to write")] = Path("manifest.csv"),
    base: Annotated[Path | None, typer.Option(help="folder that paths are relative to; default: the root")] = None,
    append: Annotated[bool, typer.Option(help="add to an existing manifest with the same base")] = False,
    option: Annotated[list[str] | None, typer.Option(help="key=value for the corpus reader, repeatable")] = None,
) -> None:
    """Write the manifest of a corpus on disk."""
    from pipeline.corpora import CORPORA, make_manifest

    if corpus == "list":
        for name in CORPORA:
            print(name)
        return
    pairs = [text.partition("=") for text in option or []]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise InputError(f"--option wants key=value, got {wrong[0]!r}")
    options = {key: value for key, _, value in pairs}
    print(make_manifest(corpus, root=root, output=output, base=base, append=append, options=options))


@app.command(name="simulate-votes")
def simulate_votes(
    manifest: Annotated[Path, typer.Argument(help="manifest of a corpus with acted emotions")],
    crema_d: Annotated[Path, typer.Option(help="CREMA-D's repository, for its vote table")],
    output: Annotated[Path, typer.Option("--output", "-o", help="manifest CSV to write")],
    source: Annotated[str, typer.Option(help="whose confusion: raters of voice, face or audiovisual")] = "voice",
    raters: Annotated[int, typer.Option(min=1, help="votes an utterance")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="seed of the draws")] = 0,
) -> None:
    """Give acted utterances the votes of simulated raters, who confuse emotions as CREMA-D's raters do."""
    from pipeline.corpora.simulated_votes import simulate_manifest

    print(simulate_manifest(manifest, crema_d=crema_d, output=output, source=source, raters=raters, seed=seed))


@app.command()
def translate(
    manifest: Annotated[Path, typer.Argument(help="manifest CSV whose emotions have other names")],
    output: Annotated[Path, typer.Option("--output", "-o", help="manifest CSV to write; may be the same file")],
    emotions: Annotated[
        str, typer.Option(help="further names, theirs:ours,...; an empty one takes the label away")
    ] = "",
) -> None:
    """Put a manifest's emotions into the one vocabulary: angry becomes anger."""
    from pipeline.corpora.spelling import translate_manifest

    for change, count in translate_manifest(manifest, output, emotions=emotions).items():
        print(f"{change}: {count} rows")
    print(f"written: {output}")


@app.command()
def use(
    folder: Annotated[Path, typer.Argument(help="folder with unlabelled.csv and labelled.csv")],
    params: Annotated[Path, typer.Option(help="parameter file whose section sets is rewritten")] = Path("params.yaml"),
) -> None:
    """Name a folder's two manifests in params.yaml."""
    from pipeline.params import use_manifests

    for name, chosen in use_manifests(folder, params=params).items():
        print(f"{params}: {name}: manifest {chosen.manifest}, root {chosen.root}")


@models.command()
def fetch() -> None:
    """Download py-feat's detector weights into the local hub cache (once, with a network)."""
    from pipeline.faces.backends.pyfeat_weights import fetch_models

    fetch_models()


def main() -> None:
    """Run a command of the pipeline; see `run`."""
    run(app)


def run(command: typer.Typer, *, extra: str = "pipeline") -> None:
    """Run a command; a mistake in the input or a fault of the machine ends with its message and status 2.

    A package that is missing is such a mistake; the ``extra`` brings it. Ctrl-C ends with status 130, as the
    shell has it.
    """
    try:
        command()
    except InputError as error:
        stop(str(error))
    except ModuleNotFoundError as error:
        stop(not_installed(error, extra=extra))
    except OSError as error:  # a folder that is full or closed, a file that is away
        stop(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except MemoryError:
        stop("out of memory; lower run.workers and run the same command again")
    except KeyboardInterrupt:
        stop(INTERRUPTED, status=130)
    except SystemExit as end:  # typer turns Ctrl-C into a bare status
        if end.code == 130:
            stop(INTERRUPTED, status=130)
        raise


def stop(message: str, *, status: int = 2) -> NoReturn:
    """End the process with one message on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
