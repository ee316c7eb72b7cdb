"""The command line: `retina-benchmark`, and `python run_benchmark.py` in a checkout.

Heavy modules are imported only where they are needed, so that `--help` and errors in options appear at once.
"""

import codecs
import difflib
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.markup import escape

from benchmark import __version__
from benchmark.environment import require_readable
from benchmark.errors import Interrupted, UserError, user_error
from benchmark.report.screen import take_screen, trouble
from benchmark.shipped import COMMAND, DEMO

EPILOG = f"""
\b
Examples
  {COMMAND}
      run the demo: a synthetic cohort, three miniature backbones, nine trials; takes minutes on a laptop
  {COMMAND} init cohort.csv
      write a first configuration for your own images, with comments
  {COMMAND} --config configs/paper.yaml --data cohort.csv --vessel-weights wnet.safetensors --dry-run
      show what your own study would run, how long it would take and what it needs, without running it
  {COMMAND} --config configs/paper.yaml --data cohort.csv … --out runs/carotid --resume
      continue a run that was interrupted
  {COMMAND} doctor --config configs/paper.yaml --data cohort.csv --vessel-weights wnet.safetensors
      check whether the study can run here, and what to fix
  {COMMAND} --config configs/paper.yaml … --set training.epochs=20 --set backbones.2.weights=retfound.pth
      replace values of the configuration
  {COMMAND} compare runs/carotid runs/carotid-2
      compare two runs, with paired differences where the test patients are the same
  {COMMAND} leaderboard lab_a/results.json lab_b/results.json
      show many runs on one page
  {COMMAND} predict runs/carotid --trial retfound-vit-l16-lora-s0 images/
      apply a trained model to new images
  {COMMAND} validate runs/carotid --data other_hospital.csv
      apply all trained models of a run to a cohort of other patients, and compare
  {COMMAND} … --cluster
      run on the Ray cluster that this machine belongs to

\b
Exit codes: 0 = all trials succeeded, 1 = an error (one line describes it), 2 = an invalid option, 3 = a trial failed,
130 = interrupted.

\b
The manifest given to --data is a CSV or Parquet file with the columns image, label (0 or 1) and patient_id, and
optionally eye, split (train, val, test), artery_mask, vein_mask, disc_mask and fov_mask; or a folder
train|val|test/<class>/.
"""


def _assigned(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Convert KEY=VALUE texts to a mapping."""
    settings: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text}: write KEY=VALUE, as in training.epochs=50", context, parameter)
        if not value.strip():
            raise click.BadParameter(f"{key}: the value is empty; write {key}=null for none", context, parameter)
        if key in settings:
            raise click.BadParameter(f"{key} is given twice", context, parameter)
        settings[key] = value
    return settings


def _listed(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    return [part.strip() for part in value.split(",") if part.strip()] if value else None


class _Path(click.ParamType):
    """A path on this machine, with `~` for the home folder."""

    name = "path"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        if isinstance(value, Path):  # a default
            return value
        if not value:
            self.fail("the path is empty; look for an unset variable in the command", parameter, context)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", value):
            self.fail(f"{value} is a URL; mount the storage on every node and give its path there")
        try:
            path = Path(value).expanduser()
            str(path.absolute()).encode()
        except UnicodeEncodeError:
            self.fail("the path is not valid UTF-8 text; rename the folder or file", parameter, context)
        except (OSError, RuntimeError) as error:  # the home folder is unknown
            self.fail(f"{value}: {error}", parameter, context)
        return path


PATH = _Path()


_STUDY_OPTIONS = (
    click.option(
        "--config",
        type=PATH,
        default=DEMO,
        help=f"The study as a YAML file; examples are in {DEMO.parent}.  [default: {DEMO.name}]",
    ),
    click.option(
        "--data",
        type=PATH,
        help="Manifest of your images; replaces the cohort of the configuration.",
    ),
    click.option(
        "--image-dir",
        type=PATH,
        help="Folder that relative paths in the manifest start from.  [default: the manifest's folder]",
    ),
    click.option(
        "--positive",
        metavar="A,B",
        help="The classes that become label 1, all others being label 0: names of class folders, or values in the "
        "column label, as in 2,3,4.  [default for two class folders: the last by name]",
    ),
    click.option(
        "--vessels",
        metavar="SOURCE",
        help="Where artery and vein masks come from: masks (files named in the manifest), wnet, bfnet (AutoMorph's "
        "network) or automorph_results (a finished AutoMorph run).",
    ),
    click.option(
        "--vessel-weights",
        type=PATH,
        help="Weights of the vessel network: a file, or, for bfnet, AutoMorph's folder of weights. For "
        "automorph_results: AutoMorph's Results folder.",
    ),
    click.option(
        "--controls",
        metavar="A,B",
        callback=_listed,
        help="Run only these controls of the vessel ratios: vessel_permutation, other_class, parameter_randomisation, "
        "erasure; or none.  [default: all]",
    ),
    click.option(
        "--cam", metavar="METHOD", help="Explanation method: gradcam, hirescam, layercam, eigencam, rollout, …"
    ),
    click.option("--name", metavar="NAME", help="Name of the study; the run directory is then runs/NAME."),
    click.option(
        "--out",
        type=PATH,
        help="Run directory.  [default: runs/<name of the study>]",
    ),
    click.option("--backbones", metavar="A,B", callback=_listed, help="Use these backbones, by name."),
    click.option("--strategies", metavar="A,B", callback=_listed, help="Use these strategies, by name."),
    click.option("--seeds", metavar="0,1", callback=_listed, help="Train every cell once per seed."),
    click.option(
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_assigned,
        help="Set any key of the configuration, as in training.epochs=50 or backbones.0.weights=retfound.pth; the "
        "value is YAML. Applied after all other options; repeatable.",
    ),
    click.option(
        "--cluster",
        metavar="[ADDRESS]",
        is_flag=False,
        flag_value="auto",
        help="Run on the Ray cluster at HOST:PORT, or on the one that this machine belongs to.",
    ),
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that define a study to a command."""
    for option in reversed(_STUDY_OPTIONS):
        command = option(command)
    return command


class _Group(click.Group):
    """A command whose suggestions for a misspelt option are near enough to be meant."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-")
            near = difflib.get_close_matches(name, [known.lstrip("-") for known in error.possibilities or ()])
            raise click.NoSuchOption(
                error.option_name, possibilities=[f"--{known}" for known in near], ctx=context
            ) from None


@click.group(
    cls=_Group,
    epilog=EPILOG,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="retina-benchmark")
@study_options
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in --out: keep what is complete and run failed trials again.",
)
@click.option(
    "--report-only-these",
    is_flag=True,
    help="With --resume and fewer backbones, strategies or seeds than before: leave the others out of the report.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan, the time of each stage and what `doctor` would find, without running anything; exit code 1 "
    "if the study cannot run.",
)
@click.pass_context
def main(
    context: click.Context,
    config: Path,
    out: Path | None,
    cluster: str | None,
    resume: bool,
    report_only_these: bool,
    dry_run: bool,
    **changes: Any,
) -> None:
    """Train every backbone with every strategy, measure how well each model predicts and whether it looks at the
    vessels, and rank the models.

    Writes a run directory with leaderboard.html, leaderboard.csv and all data they were computed from. The options
    below are for a run; give the options of a command after its name.
    """
    require_readable()
    if context.invoked_subcommand is not None:
        _require_no_options(context)
        return
    console = Console()
    with console.status("Reading the study"):
        # Imported here, so that --help, errors in options and unreadable studies do not wait for Ray and torch.
        from benchmark.study.config import load_study

        study = load_study(config, _overrides(config, changes), changes["set"], _typed(changes))
        out = out or _default_directory(study.name, resume)
        from benchmark.preflight.plan import print_plan
        from benchmark.report.terminal import print_board
        from benchmark.stages.pipeline import run_study
    if dry_run:
        if print_plan(study, out, cluster, console, resume):
            raise SystemExit(1)
        return

    try:
        leaderboard = run_study(study, out, cluster=cluster, resume=resume, report_only_these=report_only_these)
    except KeyboardInterrupt as interrupted:
        what = " ".join(("interrupted", *(f"by {signal}" for signal in interrupted.args)))
        raise Interrupted(f"{what}; the same command with --out {out} --resume continues") from None
    failed = print_board(leaderboard, out, study.statistics.confidence, console)
    if failed:
        raise SystemExit(3)


@main.command()
@study_options
@click.option("--resume", is_flag=True, help="Check whether the run in --out can be continued.")
def doctor(config: Path, out: Path | None, cluster: str | None, resume: bool, **changes: Any) -> None:
    """Check whether a study can run here, and list what to fix.

    Checks this machine, the weights, the model hub and the images. Trains, downloads and writes nothing.
    """
    with Console().status("Reading the study"):
        from benchmark.study.config import load_study

        study = load_study(config, _overrides(config, changes), changes["set"], _typed(changes))
        from benchmark.preflight.doctor import diagnose
    if diagnose(study, out or _default_directory(study.name, resume), cluster, resume):
        raise SystemExit(1)


@main.command()
@click.argument("data", type=PATH)
@click.option(
    "--image-dir", type=PATH, help="Folder of the images.  [default: searched in and below the table's folder]"
)
@click.option(
    "--positive", metavar="A,B", callback=_listed, help="The classes that become label 1.  [default: guessed]"
)
@click.option("--vessel-weights", type=PATH, help="Weights of W-Net.")
@click.option("--name", metavar="NAME", help="Name of the study.  [default: the name of DATA]")
@click.option("--out", type=PATH, help="The file to write.  [default: <name>.yaml]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def init(data: Path, out: Path | None, overwrite: bool, name: str | None, **known: Any) -> None:
    """Write a first configuration for your images.

    DATA is a CSV or Parquet file with one row per image, whatever its columns are called, or a folder of classes. The
    configuration says in comments what was guessed and why.
    """
    console = Console()
    with console.status("Starting"):
        from benchmark.preflight.first_study import Wishes, write_first_study

    out = out or Path(f"{name or _resolved(data).stem}.yaml")
    with _writing(out, "a file"):
        write_first_study(data, out, Wishes(name=name, **known), overwrite, console)


@main.command()
@click.option("--out", type=PATH, default=Path("schema.json"), show_default=True)
def schema(out: Path) -> None:
    """Write the JSON Schema of the configuration.

    With it, an editor completes and checks a study. Begin the study's YAML file with the line "# yaml-language-server:
    $schema=schema.json".
    """
    from benchmark.study.config import study_schema

    with _writing(out, "a file"):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(study_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="")
    Console().print(f"Schema: [bold]{escape(str(out))}", soft_wrap=True)


@main.command("convert-wnet")
@click.argument("checkpoint", type=PATH)
@click.argument("out", type=PATH)
@click.option("--size", type=click.IntRange(min=1), help="Side of the training images.  [default: as in config.cfg]")
def convert_wnet(checkpoint: Path, out: Path, size: int | None) -> None:
    """Convert a W-Net checkpoint (CHECKPOINT) to the .safetensors file that --vessel-weights reads (OUT).

    The checkpoint is a file of GitHub agaldran/lwnet, from experiments/big_wnet_drive_av or big_wnet_hrf_av_1024. No
    code in it is run.
    """
    from xai.vessels.wnet import convert_wnet as convert

    with _writing(out, "a file"):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            trained = convert(checkpoint, out, size)
        except ValueError as error:
            raise UserError(str(error)) from error
    known = f"trained at {trained} pixels" if trained else "size in training not known: set vessels.size"
    Console().print(f"W-Net: [bold]{escape(str(out))}[/], {known}", soft_wrap=True)


@main.command()
def reference() -> None:
    """Recompute the correlation of the published study.

    Uses the two tables of the study, and prints what can and what cannot be reproduced.
    """
    from benchmark.analysis.published import summary

    click.echo("\n".join(summary()))


@main.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, default=Path("comparison.csv"), show_default=True)
def compare(runs: tuple[Path, ...], out: Path) -> None:
    """Compare run directories with the first one, trial by trial.

    Differences are paired where the test patients are the same. All measures are written to the file named by --out.
    """
    console = Console()
    with console.status("Comparing"):
        from benchmark.analysis.compare import compare_runs
        from benchmark.report.comparison import print_comparison
        from benchmark.storage.rundir import RunDirectory
        from benchmark.study.config import load_study
        from benchmark.tables import csv_text

        table = compare_runs(runs)
        confidence = load_study(RunDirectory(runs[0]).study).statistics.confidence
    print_comparison(table, confidence, console)  # first, so that a file that cannot be written loses no numbers
    with _writing(out, "a file"):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(csv_text(table), encoding="utf-8", newline="")
    console.print(f"All measures: [bold]{escape(str(out))}", soft_wrap=True)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, default=Path("overview"), show_default=True)
def leaderboard(runs: tuple[Path, ...], out: Path) -> None:
    """Combine the results of many runs in one leaderboard.

    RUNS are results.json files, or run directories that contain one; they may be of several cohorts and labs. Writes
    overview.html, trials.csv and models.csv into the folder named by --out.
    """
    console = Console()
    with console.status("Reading the runs"):
        from benchmark.report.overview import write_overview

        with _writing(out, "a folder"):
            page = write_overview(runs, out)
    console.print(f"Page: [bold]{escape(str(page))}", soft_wrap=True)


@main.command()
@click.argument("run", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--trial", metavar="NAME", help="The trained trial, named as its folder in trials/.")
@click.option("--out", type=PATH, default=Path("predictions"), show_default=True)
def predict(run: Path, images: tuple[Path, ...], trial: str | None, out: Path) -> None:
    """Apply a trained trial of a run directory (RUN) to other images (IMAGES: files and folders).

    Writes scores, decisions and one Grad-CAM map per image into the folder named by --out. For research only.
    """
    console = Console()
    with console.status("Reading the run"):
        from benchmark.reuse.finished import find_trial
        from benchmark.reuse.predict import predict as apply

        finished = find_trial(run, trial)
    with _writing(out, "a folder"):
        apply(finished, images, out, console)


@main.command()
@click.argument("run", type=PATH)
@click.option("--data", type=PATH, required=True, help="Manifest of the other cohort: a table, or a folder of classes.")
@click.option("--name", metavar="NAME", help="Name of the other cohort.  [default: the name of the manifest]")
@click.option(
    "--image-dir",
    type=PATH,
    help="Folder that relative paths in the manifest start from.  [default: the manifest's folder]",
)
@click.option("--positive", metavar="A,B", help="The classes that are label 1.  [default: as in the run]")
@click.option("--vessels", metavar="SOURCE", help="Where artery and vein masks come from.  [default: as in the run]")
@click.option("--vessel-weights", type=PATH, help="Weights of the vessel network, or AutoMorph's Results folder.")
@click.option(
    "--recalibrate",
    metavar="SHARE",
    type=float,
    help="Also fit recalibrations on this share of the patients, and compare calibration on the others.",
)
@click.option(
    "--set",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_assigned,
    help="Any other key of `external` in a configuration, as in columns.image=file or covariates=[age]; repeatable.",
)
@click.option("--out", type=PATH, help="The folder to write.  [default: RUN/external/NAME]")
@click.option("--resume", is_flag=True, help="Continue a validation that was interrupted.")
@click.option("--cluster", metavar="[ADDRESS]", is_flag=False, flag_value="auto", help="As for a run.")
def validate(run: Path, out: Path | None, resume: bool, cluster: str | None, **given: Any) -> None:
    """Apply the trained models of a run directory (RUN) to another cohort; nothing is fitted.

    Weights, thresholds and preprocessing are those of the run. Writes the same page as a run, with the run's own test
    images next to the other cohort: AUC, calibration, decisions, saliency, and how the cohorts differ.
    """
    console = Console()
    with console.status("Reading the run"):
        from benchmark.reuse.finished import find_run

        study = find_run(run, *_external(given))
        from benchmark.report.terminal import print_leaderboard
        from benchmark.stages.validate import validate_run
    (external,) = study.external
    try:
        leaderboard, directory = validate_run(run, study, external, out, cluster=cluster, resume=resume)
    except KeyboardInterrupt as interrupted:
        what = " ".join(("interrupted", *(f"by {signal}" for signal in interrupted.args)))
        raise Interrupted(f"{what}; the same command with --resume continues") from None
    if print_leaderboard(leaderboard, directory.path, study.statistics.confidence, console):
        raise SystemExit(3)


def _external(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The options of `validate`: the external cohort, the values of --set, and the option of each key, to name it."""
    data = _resolved(given["data"])
    values: dict[str, Any] = {"name": given["name"] or data.stem, "manifest": data}
    options = {"name": "--name", "manifest": "--data", "positive": "--positive", "recalibrate": "--recalibrate"}
    if given["image_dir"]:
        values["image_dir"] = _resolved(given["image_dir"])
    values |= {key: given[key] for key in ("positive", "recalibrate") if given[key] is not None}
    if given["vessels"] or given["vessel_weights"]:
        weights = given["vessel_weights"] and _resolved(given["vessel_weights"])
        values["vessels"] = {"source": given["vessels"], "weights": weights}
    settings = {f"external.0.{key}": value for key, value in given["set"].items()}
    return values, settings, {f"external.0.{key}": option for key, option in options.items()}


@main.command()
@click.argument("run", type=PATH)
@click.option("--trial", metavar="NAME", help="The trained trial, named as its folder in trials/.")
@click.option("--repo", metavar="USER/MODEL", required=True, help="The repository; it is created if it does not exist.")
@click.option("--public", is_flag=True, help="Let everybody read the repository; without it, it is private.")
def push(run: Path, trial: str | None, repo: str, public: bool) -> None:
    """Upload a trained trial of a run directory (RUN) to the Hugging Face hub.

    Uploads weights, model card and configuration; never images, scores or maps. Needs a token with write access in
    HF_TOKEN.
    """
    console = Console()
    with console.status("Reading the run"):
        from benchmark.reuse.finished import find_trial
        from benchmark.reuse.push import push as upload

        finished = find_trial(run, trial)
    upload(finished, repo, public, console)


@contextmanager
def _writing(out: Path, wanted: str) -> Iterator[None]:
    """Report in one line that --out cannot be written; `wanted` is what it should name."""
    try:
        yield
    except OSError as error:
        match error:
            case IsADirectoryError():
                why = "is a folder"
            case FileExistsError():
                why = "is a file where a folder is needed"
            case NotADirectoryError():
                why = "would be inside a file"
            case _:
                why = f"cannot be written ({error.strerror})"
        raise UserError(f"{error.filename or out}: {why}; name {wanted} to write with --out") from error


def _require_no_options(context: click.Context) -> None:
    """Refuse options before a command: they would be read as options of a run and ignored."""
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
            name, command = parameter.opts[0], context.invoked_subcommand
            raise click.UsageError(f"put {name} after {command}: {command} {name} …", context)


# Option -> the key of the configuration that it sets.
_KEYS = {
    "name": "name",
    "data": "cohort.manifest",
    "image_dir": "cohort.image_dir",
    "positive": "cohort.positive",
    "vessels": "vessels.source",
    "vessel_weights": "vessels.weights",
    "controls": "controls",
    "cam": "explain.method",
    "backbones": "backbones",
    "strategies": "strategies",
    "seeds": "seeds",
}


def _typed(changes: dict[str, Any]) -> dict[str, str]:
    """Each key that an option sets, with the option as it is typed: a fault names what the user touched."""
    return {key: f"--{name.replace('_', '-')}" for name, key in _KEYS.items() if changes[name] is not None}


def _overrides(config: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Command-line options as the sections of the configuration that they replace."""
    result: dict[str, Any] = {}
    if changes["data"]:
        result["cohort"] = {"manifest": _resolved(changes["data"]), "image_dir": None, "synthetic": None}
        if _resolved(config) == DEMO:  # the demo's name would be wrong for other images
            result["name"] = _resolved(changes["data"]).stem
    if changes["name"] is not None:
        result["name"] = changes["name"]
    if changes["image_dir"]:
        result.setdefault("cohort", {})["image_dir"] = _resolved(changes["image_dir"])
    if changes["positive"] is not None:
        result.setdefault("cohort", {})["positive"] = changes["positive"]
    if changes["vessels"]:
        # The configured weights and size belong to another source.
        result["vessels"] = {"source": changes["vessels"], "weights": None, "size": None}
    if changes["vessel_weights"]:
        result.setdefault("vessels", {})["weights"] = _resolved(changes["vessel_weights"])
    if changes["controls"]:
        result["controls"] = _switched(changes["controls"])
    if changes["cam"]:
        result["explain"] = {"method": changes["cam"]}
    if changes["seeds"]:
        result["seeds"] = changes["seeds"]
    chosen = {key: changes[key] for key in ("backbones", "strategies") if changes[key]}
    if chosen:
        from benchmark.study.config import read_values

        written = read_values(config)
        for key, names in chosen.items():  # keep their options from the file
            choices = written.get(key)
            with_options = [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []
            result[key] = [next((each for each in with_options if each.get("name") == name), name) for name in names]
    return result


def _resolved(path: Path) -> Path:
    """The absolute path with links resolved.

    A loop of links is resolved as far as possible; opening the path then raises the error.
    """
    return Path(os.path.realpath(path))


def _switched(names: list[str]) -> dict[str, bool]:
    """The controls' switches: on for those named, off for the others."""
    from backbones.naming import did_you_mean
    from benchmark.study.controls import CONTROLS as SWITCHES

    wanted = [] if names == ["none"] else names
    for name in wanted:
        if name not in SWITCHES:
            hint = did_you_mean(name, [*SWITCHES, "none"], f"known: {', '.join(SWITCHES)}, none")
            raise click.BadParameter(f"control {name!r} is unknown; {hint}", param_hint="--controls")
    return {name: name in wanted for name in SWITCHES}


def _default_directory(name: str, resume: bool) -> Path:
    """`runs/<name>`, or the first free `runs/<name>-2`, …; with --resume, the latest that exists."""
    taken, path, number = None, Path("runs") / name, 1
    while path.exists():
        number += 1
        taken, path = path, Path("runs") / f"{name}-{number}"
    return taken if resume and taken else path


def run() -> None:
    """Run the command line on any terminal.

    Every error is reported in one line; the traceback of an unexpected error is written to a file.
    """
    _use_utf8()
    take_screen()
    try:
        main()
    except SystemExit as ended:
        lost = trouble(sys.stdout)
        if lost is None or ended.code:
            raise
        _report(UserError(f"standard output: {lost.strerror}; the printed output is incomplete"))
        sys.exit(1)
    except Exception as error:
        _report(error)
        sys.exit(Interrupted.exit_code if isinstance(error, Interrupted) else 1)


def _report(error: Exception) -> None:
    """Print one line per thing to fix or, for an error of this program, one line with the file of its traceback."""
    known, notes = user_error(error), list(getattr(error, "__notes__", ()))
    if known is not None:
        lines = str(known).splitlines()
    else:
        text = [line.strip() for line in str(error).splitlines() if line.strip()]  # a worker's error: its traceback
        reason = f"{type(error).__name__}: {text[-1] if text else ''}"[:500]
        lines = [f"unexpected {reason}; this is a bug in the program: please report it with the log"]
        notes = notes or [f"log: {_keep_traceback()}"]
    for line in (*lines[:-1], "; ".join((*lines[-1:], *notes))):
        print(f"error: {line}", file=sys.stderr)


def _keep_traceback() -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="retina-benchmark-", suffix=".log", delete=False
        ) as file:
            traceback.print_exc(file=file)
        return file.name
    except OSError as error:
        return f"none, because it cannot be written ({error.strerror})"


def _use_utf8() -> None:
    """Restart in Python's UTF-8 mode if the locale's encoding cannot represent every file name.

    The terminal keeps its encoding.
    """
    if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    if sys.executable and sys.stdout is not None:
        os.environ["PYTHONUTF8"] = "1"  # Ray's workers inherit it
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:replace")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
