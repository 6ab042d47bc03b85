"""Commands that check finished tables: pictures, sensitivity, comparison with references, speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.params import Params

app = typer.Typer()


def read_params() -> Params:
    """Return the parameters in ``params.yaml``; imported on the call, so that ``--help`` does not cost seconds."""
    from pipeline.params import load_params

    return load_params()


@app.command()
def inspect(
    name: Annotated[str, typer.Argument(help="a segment id or a clip id of the unlabelled set")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="picture file")] = None,
) -> None:
    """Draw one segment: frames with landmarks, energy, motion, action units, the labels and why."""
    from pipeline.checks.inspect import inspect_segment

    print(inspect_segment(read_params(), name, output or Path("reports/inspect") / f"{name.replace('#', '_')}.png"))


@app.command()
def browse(
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write")] = Path("reports/labels.html"),
    per_label: Annotated[int, typer.Option(min=1, max=50, help="segments of each label, most and least sure")] = 4,
) -> None:
    """Write a page of films beside their labels: of each label the surest and the least sure segments, and why."""
    from pipeline.checks.browse import browse as run

    done = run(read_params(), output, per_label=per_label)
    each = done["seconds"] / max(done["segments"], 1)
    failed = f", {done['failed']:.0f} without a picture" if done["failed"] else ""
    print(f"{output}: {done['segments']:.0f} segments{failed}; {done['seconds']:.0f} s, {each:.1f} s each")


@app.command()
def sensitivity(
    segments: Annotated[int, typer.Option(min=1, help="about how many segments of a corpus; whole clips")] = 60,
    skip: Annotated[int, typer.Option(min=0, help="segments left out first: other clips than another run's")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write")] = Path("reports/sensitivity.csv"),
) -> None:
    """Count the labels that change with the frame rate, the compression of the film and the threshold."""
    from pipeline.checks.sensitivity import print_sensitivity, run_sensitivity

    print_sensitivity(run_sensitivity(read_params(), wanted=segments, skip=skip, output=output))
    print(f"wrote {output}, {output.with_suffix('.png')}")


@app.command(name="compare-planted")
def compare_planted(
    truth: Annotated[Path, typer.Argument(help="folder `truth` of the synthetic corpus")] = Path(
        "data/synthetic/truth"
    ),
    faces: Annotated[Path, typer.Option(help="faces table")] = Path("data/faces/unlabelled"),
    segments: Annotated[Path, typer.Option(help="segments table of the same set")] = Path("data/segments/unlabelled"),
) -> None:
    """Compare the action units of the synthetic corpus with the planted ones: rank correlation over time per unit."""
    from pipeline.synthetic.recovered import compare_planted_tables

    print(compare_planted_tables(faces, truth, segments).to_string(float_format="%.2f", na_rep=""))


@app.command(name="compare-aus")
def compare_aus(
    reference: Annotated[Path, typer.Argument(help="Parquet: clip, timestamp, AU01_r ... (0-5), as OpenFace gives")],
    faces: Annotated[Path, typer.Option(help="faces table")] = Path("data/faces/unlabelled"),
    segments: Annotated[Path, typer.Option(help="segments table of the same set")] = Path("data/segments/unlabelled"),
) -> None:
    """Compare the action units of a faces table with a reference table: Pearson's r per unit over active clips."""
    from pipeline.checks.reference_units import compare_tables

    print(compare_tables(faces, reference, segments).to_string(float_format="%.2f"))


@app.command()
def talkers(
    folder: Annotated[Path, typer.Argument(help="folder of clips that show one talking face each")],
    seconds: Annotated[float, typer.Option(help="longest film, s")] = 10.0,
    rounds: Annotated[int, typer.Option(help="films in which each clip talks")] = 1,
    limit: Annotated[int | None, typer.Option(help="most films")] = None,
) -> None:
    """Put clips side by side with the voice of one, and count how often the talking face is taken."""
    from pipeline.checks.talkers import summarise, take_films

    films = take_films(folder, read_params().faces, seconds=seconds, rounds=rounds, limit=limit)
    print(summarise(films).to_string(float_format="%.3f"))
    print(f"left out, for cuts or another number of faces: {sum(not film.whole for film in films)} of {len(films)}")


@app.command(name="time-faces")
def time_faces(
    folder: Annotated[Path, typer.Argument(help="folder of clips with faces")],
    limit: Annotated[int | None, typer.Option(min=1, help="most clips, evenly chosen")] = None,
) -> None:
    """Measure what the faces stage costs a frame on one core, and which part of it costs what."""
    from pipeline.checks.speed import measure
    from pipeline.checks.talkers import find_clips, spaced

    cost = measure(spaced(find_clips(folder), limit), read_params().faces)
    print(f"{cost.frames} frames, {cost.faces} with a face; CPU time of one process")
    print(cost.table().to_string(float_format="%.3f"))
