"""The command line: `retina-benchmark`, and `python run_benchmark.py` in a checkout.

It imports what is heavy only where it is needed, so that `--help` and a faulty option are answered at once.
"""

import codecs
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

from benchmark.environment import require_readable
from benchmark.errors import UserError, user_error
from benchmark.report.screen import take_screen, trouble
from benchmark.shipped import COMMAND, DEMO

EPILOG = f"""
\b
Examples
  {COMMAND}
      the demo: a synthetic cohort, three miniature models, nine cells, minutes on a laptop
  {COMMAND} --config configs/paper.yaml --data cohort.csv --vessel-weights wnet.safetensors --dry-run
      what your own study would run, take and need, without running it
  {COMMAND} --config configs/paper.yaml --data cohort.csv … --out runs/carotid --resume
      go on with a run that was interrupted
  {COMMAND} doctor --config configs/paper.yaml --data cohort.csv --vessel-weights wnet.safetensors
      whether it can run here, and what to fix
  {COMMAND} --config configs/paper.yaml … --set training.epochs=20 --set backbones.2.weights=retfound.pth
      other values in place of those in the configuration
  {COMMAND} compare runs/carotid runs/carotid-2
      two runs side by side, with paired differences where the test people are the same
  {COMMAND} leaderboard lab_a/results.json lab_b/results.json
      many runs on one page
  {COMMAND} … --cluster
      the same on the Ray cluster that this machine belongs to

\b
Exit code: 0 all cells are done, 1 an error (one line says which), 2 a wrong option, 3 a cell failed.

\b
The manifest given to --data is a CSV or Parquet file with the columns image, label (0 or 1) and patient_id, and
optionally eye, split (train, val, test), artery_mask, vein_mask, disc_mask and fov_mask; or a folder
train|val|test/<class>/.
"""


def _assigned(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE as keys and values."""
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
            self.fail("the path is empty; an unset variable in the command?", parameter, context)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", value):
            self.fail(f"{value} is an address; mount the storage on every node and name its path there")
        try:
            path = Path(value).expanduser()
            str(path.absolute()).encode()
        except UnicodeEncodeError:
            self.fail("the path is no valid UTF-8 text; rename the folder or file", parameter, context)
        except (OSError, RuntimeError) as error:  # nobody's home folder is known
            self.fail(f"{value}: {error}", parameter, context)
        return path


PATH = _Path()


_STUDY_OPTIONS = (
    click.option(
        "--config",
        type=PATH,
        default=DEMO,
        help=f"The study, a YAML file, such as those in {DEMO.parent}.  [default: {DEMO.name}]",
    ),
    click.option(
        "--data",
        type=PATH,
        help="Manifest of your photographs, in place of the study's cohort.",
    ),
    click.option(
        "--image-dir",
        type=PATH,
        help="What relative paths in the manifest resolve against.  [default: the manifest's folder]",
    ),
    click.option(
        "--positive",
        metavar="CLASS",
        help="The class that is label 1: a class folder's name, or a text in the column label.  [default: of folders, "
        "the last by name]",
    ),
    click.option(
        "--vessels",
        metavar="SOURCE",
        help="Where artery and vein masks come from: masks (files named in the manifest), wnet, bfnet (AutoMorph's "
        "network) or automorph_results (a finished run of AutoMorph).",
    ),
    click.option(
        "--vessel-weights",
        type=PATH,
        help="Weights of the vessel network: a file, for bfnet AutoMorph's folder of them; or AutoMorph's Results.",
    ),
    click.option(
        "--controls",
        metavar="A,B",
        callback=_listed,
        help="Only these controls of the ratios: mask_null, other_class, model_null, erasure; or none.  [default: all]",
    ),
    click.option("--cam", metavar="METHOD", help="How to explain: gradcam, hirescam, layercam, eigencam, rollout, …"),
    click.option(
        "--out",
        type=PATH,
        help="Run directory.  [default: runs/<name of the study>]",
    ),
    click.option("--backbones", metavar="A,B", callback=_listed, help="Only these backbones, by name."),
    click.option("--strategies", metavar="A,B", callback=_listed, help="Only these strategies, by name."),
    click.option("--seeds", metavar="0,1", callback=_listed, help="A trial for every seed."),
    click.option(
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_assigned,
        help="Any key of the configuration, as in training.epochs=50 or backbones.0.weights=retfound.pth; the value is "
        "YAML. Applied after all other options; repeatable.",
    ),
    click.option(
        "--cluster",
        metavar="[ADDRESS]",
        is_flag=False,
        flag_value="auto",
        help="Run on a Ray cluster: HOST:PORT, or the one this machine belongs to.",
    ),
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which study it is about."""
    for option in reversed(_STUDY_OPTIONS):
        command = option(command)
    return command


@click.group(
    epilog=EPILOG,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@study_options
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in --out; what is complete is kept, failed cells are tried again.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and what is missing, and run nothing.")
@click.pass_context
def main(
    context: click.Context,
    config: Path,
    out: Path | None,
    cluster: str | None,
    resume: bool,
    dry_run: bool,
    **changes: Any,
) -> None:
    """Train every backbone with every strategy, look where each one looks, and rank them.

    Writes a run directory with leaderboard.html, leaderboard.csv and everything they were computed from. The options
    are those of a run; a command has its own behind it.
    """
    require_readable()
    if context.invoked_subcommand is not None:
        _require_no_options(context)
        return
    console = Console()
    with console.status("Reading the study"):
        # Imported here: --help, a faulty option and an unreadable study should not wait for Ray and torch.
        from benchmark.study.config import load_study

        study = load_study(config, _overrides(config, changes), changes["set"])
        out = out or _default_directory(study.name, resume)
        from benchmark.preflight.plan import print_plan
        from benchmark.report.terminal import print_leaderboard
        from benchmark.stages.pipeline import run_study
    if dry_run:
        print_plan(study, out, cluster, console)
        return

    try:
        leaderboard = run_study(study, out, cluster=cluster, resume=resume)
    except KeyboardInterrupt as interrupted:
        what = " ".join(("interrupted", *(f"by {signal}" for signal in interrupted.args)))
        raise UserError(f"{what}; the same command with --out {out} --resume continues") from None
    failed = print_leaderboard(leaderboard, out, study.statistics.confidence, console)
    if failed:
        raise SystemExit(3)


@main.command()
@study_options
def doctor(config: Path, out: Path | None, cluster: str | None, **changes: Any) -> None:
    """Check whether a study can run here, and say what to fix.

    Looks at this machine, the weights, the hub and the photographs. Trains, downloads and writes nothing.
    """
    with Console().status("Reading the study"):
        from benchmark.study.config import load_study

        study = load_study(config, _overrides(config, changes), changes["set"])
        from benchmark.preflight.doctor import diagnose
    if diagnose(study, out or _default_directory(study.name, resume=False), cluster):
        raise SystemExit(1)


@main.command()
@click.option("--out", type=PATH, default=Path("schema.json"), show_default=True)
def schema(out: Path) -> None:
    """Write the JSON Schema of the configuration, by which an editor completes and checks a study.

    Begin the study's YAML file with the line "# yaml-language-server: $schema=schema.json".
    """
    from benchmark.study.config import study_schema

    with _writing(out, "a file"):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(study_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="")
    Console().print(f"Schema: [bold]{escape(str(out))}", soft_wrap=True)


@main.command()
def reference() -> None:
    """Recompute the published study's correlation from its two printed tables, and say what comes out."""
    from benchmark.analysis.published import summary

    click.echo("\n".join(summary()))


@main.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, default=Path("comparison.csv"), show_default=True)
def compare(runs: tuple[Path, ...], out: Path) -> None:
    """Hold run directories against the first one, cell by cell.

    Differences are paired where the test people are the same; every measure goes to the file named by --out.
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
    console.print(f"Every measure: [bold]{escape(str(out))}", soft_wrap=True)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, default=Path("overview"), show_default=True)
def leaderboard(runs: tuple[Path, ...], out: Path) -> None:
    """One leaderboard over many runs (several cohorts, several labs), from their results.json alone.

    RUNS are results.json files, or run directories that hold one. Writes overview.html, cells.csv and models.csv into
    the folder named by --out.
    """
    console = Console()
    with console.status("Reading the runs"):
        from benchmark.report.overview import write_overview

        with _writing(out, "a folder"):
            page = write_overview(runs, out)
    console.print(f"Page: [bold]{escape(str(page))}", soft_wrap=True)


@contextmanager
def _writing(out: Path, wanted: str) -> Iterator[None]:
    """Tell in one line of an --out that cannot be written; `wanted`: what it should name."""
    try:
        yield
    except OSError as error:
        match error:
            case IsADirectoryError():
                why = "is a folder"
            case FileExistsError():
                why = "is a file where a folder is needed"
            case NotADirectoryError():
                why = "would lie in a file"
            case _:
                why = f"cannot be written ({error.strerror})"
        raise UserError(f"{error.filename or out}: {why}; name {wanted} to write with --out") from error


def _require_no_options(context: click.Context) -> None:
    """Options before a command would be taken for the run's and pass unheard."""
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
            name, command = parameter.opts[0], context.invoked_subcommand
            raise click.UsageError(f"write {name} behind {command}: {command} {name} …", context)


def _overrides(config: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Command-line options as the sections of the configuration that they replace."""
    result: dict[str, Any] = {}
    if changes["data"]:
        result["cohort"] = {"manifest": _resolved(changes["data"]), "image_dir": None, "synthetic": None}
        if _resolved(config) == DEMO:  # whose name would stand above photographs that it did not draw
            result["name"] = _resolved(changes["data"]).stem
    if changes["image_dir"]:
        result.setdefault("cohort", {})["image_dir"] = _resolved(changes["image_dir"])
    if changes["positive"]:
        result.setdefault("cohort", {})["positive"] = changes["positive"]
    if changes["vessels"]:
        result["vessels"] = {"source": changes["vessels"], "weights": None, "size": None}  # those were another source's
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
        for key, names in chosen.items():  # keep the options that the file gives them
            choices = written.get(key)
            with_options = [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []
            result[key] = [next((each for each in with_options if each.get("name") == name), name) for name in names]
    return result


def _resolved(path: Path) -> Path:
    """Absolute, and without links; of a loop of links as far as it goes, so that opening it says what is wrong."""
    return Path(os.path.realpath(path))


def _switched(names: list[str]) -> dict[str, bool]:
    """The controls' switches: on for those named, off for the others."""
    from benchmark.study.config import SWITCHES

    wanted = [] if names == ["none"] else names
    unknown = [name for name in wanted if name not in SWITCHES]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; known: {', '.join(SWITCHES)}, none", param_hint="--controls")
    return {name: name in wanted for name in SWITCHES}


def _default_directory(name: str, resume: bool) -> Path:
    """`runs/<name>`, or the first free `runs/<name>-2`, … ; with --resume the latest that is there."""
    taken, path, number = None, Path("runs") / name, 1
    while path.exists():
        number += 1
        taken, path = path, Path("runs") / f"{name}-{number}"
    return taken if resume and taken else path


def run() -> None:
    """The command line on any terminal; whatever goes wrong ends in one line, with the traceback in a file."""
    _use_utf8()
    take_screen()
    try:
        main()
    except SystemExit as ended:
        lost = trouble(sys.stdout)
        if lost is None or ended.code:
            raise
        _report(UserError(f"standard output: {lost.strerror}; what was printed is not complete"))
        sys.exit(1)
    except Exception as error:
        _report(error)
        sys.exit(1)


def _report(error: Exception) -> None:
    """One line for each thing to fix, or, for an error of this program, one that says where its traceback is."""
    known, notes = user_error(error), list(getattr(error, "__notes__", ()))
    if known is not None:
        lines = str(known).splitlines()
    else:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]  # of a worker: its traceback
        reason = f"{type(error).__name__}: {said[-1] if said else ''}"[:500]
        lines = [f"unexpected {reason}; this is a fault of the program: please report it with the log"]
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
        return f"none, for it cannot be written ({error.strerror})"


def _use_utf8() -> None:
    """Begin again in Python's UTF-8 mode where the locale cannot name every file; the screen keeps its encoding."""
    if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    if sys.executable and sys.stdout is not None:
        os.environ["PYTHONUTF8"] = "1"  # Ray's workers inherit it
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:replace")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
