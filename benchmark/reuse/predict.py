"""predict: a trained trial applied to image files; writes `predictions.csv` and one map per image."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track

import backbones
from benchmark.analysis.leaderboard import read_thresholds
from benchmark.errors import OF_ONE_ROW, Interrupted, UserError
from benchmark.reuse.finished import Finished
from benchmark.storage.rundir import write_csv, write_image
from benchmark.study.folder import images_below, left_out_text
from benchmark.study.images import IMAGE_SUFFIXES, one_line, open_cropped
from benchmark.trial.apply import Trained, open_trained
from benchmark.trial.figures import method_name
from finetune.inputs import batches
from xai.gradcam import saliency_maps
from xai.panels import PAIR_TILE, map_panel

TABLE, MAPS = "predictions.csv", "maps"
SCHEMA: dict[str, type[pl.DataType]] = {
    "image": pl.String,
    "score": pl.Float64,
    "threshold": pl.Float64,
    "decision": pl.String,
    "map": pl.String,
    "error": pl.String,
}
_LONGEST = 200  # bytes of a map's name; file systems allow 255
_SHOWN = 20  # rows on the screen


@dataclass(frozen=True, eq=False)
class _Opened:
    """What is kept of an image: the model's input, and the square and its field of view as they are shown."""

    crop: np.ndarray
    picture: np.ndarray
    fov: np.ndarray


def predict(finished: Finished, paths: Sequence[Path], out: Path, console: Console) -> pl.DataFrame:
    """Score images, decide by the threshold that the run chose on validation images, and draw the maps.

    Args:
        paths: image files, and folders whose images are taken at any depth; each file is used once.
        out: the folder to write `predictions.csv` and `maps/` into.

    Returns:
        One row per image, as in `predictions.csv`; an image that cannot be used has only `error`.

    Raises:
        UserError: `out` holds predictions already, the weights are not available, or no image can be used (the table is
            written nevertheless).
        Interrupted: Ctrl-C; the table has the images so far.
    """
    table = out / TABLE
    if table.exists():
        raise UserError(f"{table} exists: choose another --out, or remove it")
    left_out: Counter[str] = Counter()
    files = _listed(paths, left_out)
    if left_out:
        console.print(escape(left_out_text(left_out)))
    try:
        with console.status(f"Loading {escape(finished.trial.name)}"):
            trained = open_trained(finished.study, finished.directory, finished.trial)
    except backbones.WeightsError as error:
        raise UserError(str(error)) from error
    threshold = read_thresholds(finished.folder)["best_f1"]
    _note_device(finished, trained, console)

    parts = [files[part] for part in batches(len(files), trained.footprint.micro_batch)]
    rows: list[dict[str, object]] = []
    names = _map_names(files)
    write_csv(table, pl.DataFrame(rows, schema=SCHEMA))  # --out may not be writable: better known before hours of work
    try:
        for part in track(parts, "Predicting", console=console, transient=True):
            rows += _rows(trained, part, threshold, out, names)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {table} has {len(rows)} of {len(files)} images") from None
    finally:
        found = pl.DataFrame(rows, schema=SCHEMA)
        write_csv(table, found)
    _report(found, threshold, out, _named_positive(finished), console)
    return found


def _rows(
    trained: Trained, files: Sequence[Path], threshold: float, out: Path, names: dict[Path, str]
) -> Iterator[dict[str, object]]:
    opened: dict[Path, _Opened] = {}
    errors: dict[Path, str] = {}
    for file in files:
        try:
            opened[file] = _open(file)
        except OF_ONE_ROW as error:
            errors[file] = one_line(error)
    scored: dict[Path, tuple[float, np.ndarray]] = {}
    if opened:
        crops = np.stack([each.crop for each in opened.values()])
        scored = dict(zip(opened, zip(trained.scores(crops).tolist(), trained.cams(crops), strict=True), strict=True))
    for file in files:
        row: dict[str, object] = {"image": str(file)}
        if file in errors:
            yield row | {"error": errors[file]}
            continue
        score, cam = scored[file]
        if not np.isfinite(score):
            yield row | {"error": "the model's output is not finite"}
            continue
        row |= {"score": score, "threshold": threshold, "decision": "positive" if score >= threshold else "negative"}
        if not np.isfinite(cam).all():
            yield row | {"error": "no map, because its values are not finite"}
            continue
        _draw(trained, file, opened[file], cam, row, out / MAPS / names[file])
        yield row | {"map": f"{MAPS}/{names[file]}"}


def _open(file: Path) -> _Opened:
    if file.is_dir():
        raise ValueError("no image in this folder")
    opened = open_cropped(file)
    return _Opened(opened.image(), opened.image(PAIR_TILE), opened.fov_share(PAIR_TILE))


def _draw(trained: Trained, file: Path, opened: _Opened, cam: np.ndarray, row: dict[str, object], path: Path) -> None:
    settings, (backbone, strategy, seed) = trained.study.explain, trained.trial.key
    saliency = saliency_maps(torch.from_numpy(cam[None]), PAIR_TILE, settings.scaling)[0].numpy()
    facts = (
        f"{backbone}, {strategy}, seed {seed}: score {row['score']:.3f}, threshold {row['threshold']:.3f}, "
        f"{row['decision']}"
    )
    figure = map_panel(opened.picture, saliency, opened.fov, file.name, facts, method_name(settings.method))
    write_image(path, figure.rgb)


def _listed(paths: Sequence[Path], left_out: Counter[str]) -> list[Path]:
    """The files to score, each once; a folder without images stands for itself, so that its row has the reason."""
    files: dict[Path, Path] = {}
    for path in paths:
        below = [path / each for each in images_below(path, left_out)] if path.is_dir() else []
        for file in below or [path]:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _map_names(files: Sequence[Path]) -> dict[Path, str]:
    """A file name for the map of each image: that of the image, with a number where several have the same."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for file in files:
        plain = file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name  # a DICOM UID ends in a number
        plain = plain.encode()[:_LONGEST].decode(errors="ignore")
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        names[file] = f"{name}.png"
    return names


def _note_device(finished: Finished, trained: Trained, console: Console) -> None:
    """bfloat16 on a GPU and float32 on a CPU round differently."""
    before = json.loads(finished.folder.record.read_text(encoding="utf-8")).get("device")
    now = torch.cuda.get_device_name() if trained.device.type == "cuda" else "cpu"
    if before is not None and before != now:
        console.print(
            f"The run computed its scores on {escape(before)}, this computer has {escape(now)}: scores differ by "
            "rounding, and so may decisions close to the threshold"
        )


def _named_positive(finished: Finished) -> str:
    """The name of the positive class in brackets, if the classes of the run have names."""
    classes = (finished.directory.completed("prepare") or {}).get("classes")
    return f" ({classes['1']})" if classes else ""


def _report(found: pl.DataFrame, threshold: float, out: Path, positive: str, console: Console) -> None:
    unusable = found.filter(pl.col("score").is_null())
    if len(unusable) == len(found):
        image, reason = unusable.select("image", "error").row(0)
        raise UserError(
            f"none of {len(found)} images can be used; the first: {image}: {reason}; all reasons: {out / TABLE}"
        )
    for image, score, decision in found.select("image", "score", "decision").drop_nulls().head(_SHOWN).iter_rows():
        console.print(f"{score:.3f}  {decision}  {escape(image)}", soft_wrap=True)
    if len(found) - len(unusable) > _SHOWN:
        console.print(f"… and {len(found) - len(unusable) - _SHOWN} more")
    for image, error in found.filter(pl.col("error").is_not_null()).select("image", "error").iter_rows():
        console.print(f"[yellow]✗[/] {escape(image)}: {escape(error)}", soft_wrap=True)
    counts = {name: int((found["decision"] == name).sum()) for name in ("positive", "negative")}
    console.print(
        f"{counts['positive']} positive{escape(positive)} and {counts['negative']} negative at the threshold "
        f"{threshold:.3f}, which the run chose on its validation images (highest F1); {len(unusable)} of {len(found)} "
        "images not usable"
    )
    console.print(f"Scores: [bold]{escape(str(out / TABLE))}[/]; maps: [bold]{escape(str(out / MAPS))}", soft_wrap=True)
