"""The command line: what the options do, and how errors are reported."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from click.testing import CliRunner

import run_benchmark
from benchmark import __version__
from benchmark.analysis.compare import SCHEMA
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import load_study
from tests.benchmark.lab_results import results_of

ROOT = Path(__file__).resolve().parent.parent
STUDY = {
    "name": "small",
    "cohort": {"synthetic": {"patients": 10}, "max_rejected": 0.2},
    "vessels": {"size": 512},
    "backbones": ["openclip-tiny", {"name": "retfound-vit-l16", "weights": "/weights/retfound.pth"}],
    "strategies": ["classifier_only", {"name": "lora", "rank": 2}],
}


def process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return path


@pytest.fixture
def planned(config, tmp_path, monkeypatch):
    """What `--dry-run` with these options would print the plan of: study, run directory, cluster."""
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr(
        "benchmark.preflight.plan.print_plan",
        lambda study, out, cluster, console, resume: calls.append((study, out, cluster)),
    )

    def planned(*arguments: str):
        options = [] if "--config" in arguments else ["--config", str(config)]
        result = CliRunner().invoke(run_benchmark.main, [*options, *arguments, "--dry-run"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return calls.pop()

    return planned


def test_help_teaches_without_waiting_for_torch_or_ray():
    script = """
import sys, run_benchmark
try:
    run_benchmark.main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
assert not {"torch", "ray", "polars", "pydantic"} & set(sys.modules), "a heavy module was imported"
"""
    result = process("-c", script)
    assert result.returncode == 0, result.stderr
    for option in (
        "--config", "--data", "--image-dir", "--positive", "--vessels", "--vessel-weights", "--out", "--backbones",
        "--strategies", "--seeds", "--cam", "--controls", "--set KEY=VALUE", "--cluster [ADDRESS]", "--resume",
        "--dry-run",
    ):  # fmt: skip
        assert option in result.stdout
    for lesson in ("Examples", "python run_benchmark.py", "patient_id", "train|val|test/<class>/"):
        assert lesson in result.stdout


def test_help_names_the_commands():
    for arguments in (["--help"], ["doctor", "--help"]):
        result = CliRunner().invoke(run_benchmark.main, arguments)
        assert result.exit_code == 0
        assert "doctor" in result.output
        assert "--vessel-weights" in result.output
    assert "--dry-run" not in result.output


def test_an_unknown_command_is_refused_with_the_nearest():
    result = CliRunner().invoke(run_benchmark.main, ["docter"])
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == "Error: No such command 'docter'. Did you mean 'doctor'?"


def test_options_before_a_command_are_refused_rather_than_ignored(config):
    result = CliRunner().invoke(run_benchmark.main, ["--config", str(config), "doctor"])
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == "Error: put --config after doctor: doctor --config …"


@pytest.mark.parametrize(("failures", "code"), [(0, 0), (2, 1)])
def test_the_doctor_takes_the_options_of_a_study_and_ends_with_1_on_failures(config, monkeypatch, failures, code):
    calls = []
    monkeypatch.setattr("benchmark.preflight.doctor.diagnose", lambda *arguments: calls.append(arguments) or failures)
    arguments = ["doctor", "--config", str(config), "--data", "c.csv", "--strategies", "full", "--cluster"]
    result = CliRunner().invoke(run_benchmark.main, arguments, catch_exceptions=False)
    assert result.exit_code == code
    ((study, out, cluster, _),) = calls
    assert study.cohort.manifest == Path.cwd() / "c.csv"
    assert [choice.name for choice in study.strategies] == ["full"]
    assert (out.name, cluster) == ("small", "auto")


def test_the_doctor_looks_at_the_demo_without_options(monkeypatch):
    calls = []
    monkeypatch.setattr("benchmark.preflight.doctor.diagnose", lambda *arguments: calls.append(arguments))
    assert CliRunner().invoke(run_benchmark.main, ["doctor"], catch_exceptions=False).exit_code == 0
    assert calls[0][0].name == "demo"


def test_your_images_are_not_called_the_demo(planned, monkeypatch):
    study, out, _ = planned("--config", str(run_benchmark.DEMO), "--data", "lab/carotid.csv")
    assert (study.name, out.name) == ("carotid", "carotid")
    monkeypatch.chdir(ROOT)
    assert planned("--config", "configs/demo.yaml", "--data", "lab/carotid.csv")[0].name == "carotid"
    assert planned("--data", "lab/carotid.csv")[0].name == "small", "a study of one's own keeps its name"
    assert planned("--config", str(run_benchmark.DEMO))[0].name == "demo"


def test_an_unknown_option_is_refused_with_the_nearest():
    result = CliRunner().invoke(run_benchmark.main, ["--backbone", "x"])
    assert result.exit_code == 2
    assert "No such option" in result.output
    assert "--backbones" in result.output


def test_a_fault_in_the_input_is_one_line_each_without_a_traceback(tmp_path):
    config = tmp_path / "study.yaml"
    config.write_text("name: x\nfoo: 1\n", encoding="utf-8")
    result = process("run_benchmark.py", "--config", str(config))
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 4  # three sections missing, one key unknown
    assert all(line.startswith(f"error: {config}: ") for line in lines)
    assert "Traceback" not in result.stdout + result.stderr


def test_without_options_it_is_the_demo(planned):
    study, out, cluster = planned("--config", str(run_benchmark.DEMO))
    assert (study.name, out, cluster) == ("demo", Path("runs/demo"), None)
    parameters = {parameter.name: parameter.default for parameter in run_benchmark.main.params}
    assert parameters["config"] == run_benchmark.DEMO == ROOT / "configs" / "demo.yaml"


def test_a_dry_run_runs_and_writes_nothing(planned, tmp_path, config):
    planned()
    assert list(tmp_path.iterdir()) == [config]


def test_data_takes_the_place_of_the_cohort(planned, tmp_path):
    study, _, _ = planned("--data", "cohort.csv", "--image-dir", "photos")
    assert study.cohort.synthetic is None
    assert study.cohort.manifest == tmp_path / "cohort.csv"
    assert study.cohort.image_dir == tmp_path / "photos"
    assert study.cohort.max_rejected == 0.2


def test_the_positive_class(planned):
    study, _, _ = planned("--data", "cohort.csv", "--positive", "glaucoma")
    assert study.cohort.positive == ["glaucoma"]
    study, _, _ = planned("--data", "cohort.csv", "--positive", "2, 3,4")
    assert study.cohort.positive == ["2", "3", "4"]
    with pytest.raises(UserError, match="--positive: names no class"):
        planned("--data", "cohort.csv", "--positive", ",")


def test_the_name_is_that_of_the_run_directory(planned):
    study, out, _ = planned("--name", "carotid")
    assert (study.name, out) == ("carotid", Path("runs/carotid"))
    study, out, _ = planned("--config", str(run_benchmark.DEMO), "--data", "lab.csv", "--name", "x", "--out", "there")
    assert (study.name, out) == ("x", Path("there"))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lab/x", "contains '/'"),
        ("a\\b", r"contains '\\'"),
        ("", "is not the name of a folder"),
        ("..", "is not the name"),
    ],
)
def test_a_name_that_is_not_one_of_a_folder(planned, name, what):
    with pytest.raises(UserError) as caught:
        planned("--name", name)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"--name: {name!r} {what}")
    assert line.endswith("; give a name for runs/<name>, or a path with --out")


def test_data_drops_the_image_folder_of_the_configuration(planned, config, tmp_path):
    config.write_text(yaml.safe_dump(STUDY | {"cohort": {"manifest": "a.csv", "image_dir": "b"}}), encoding="utf-8")
    study, _, _ = planned("--data", "other/cohort.csv")
    assert study.cohort.manifest == tmp_path / "other" / "cohort.csv"
    assert study.cohort.image_dir is None


def test_a_source_of_vessels_and_its_weights(planned, config, tmp_path):
    study, _, _ = planned("--vessels", "wnet", "--vessel-weights", "wnet.safetensors")
    assert (study.vessels.source, study.vessels.size) == ("wnet", None)
    assert study.vessels.weights == tmp_path / "wnet.safetensors"

    configured = {"source": "wnet", "weights": "w.st", "size": 512}
    config.write_text(yaml.safe_dump(STUDY | {"vessels": configured}), encoding="utf-8")
    vessels = planned("--vessels", "bfnet")[0].vessels
    assert (vessels.weights, vessels.size) == (None, None), "they belong to another source"
    vessels = planned("--vessel-weights", "v.st")[0].vessels
    assert (vessels.source, vessels.size) == ("wnet", 512)


def test_a_method_of_explanation(planned):
    study, _, _ = planned("--cam", "layercam")
    assert (study.explain.method, study.explain.scaling) == ("layercam", "minmax")
    with pytest.raises(UserError, match="explain: explanation method 'layercan' is unknown; did you mean layercam"):
        planned("--cam", "layercan")


def test_controls_are_switches(planned):
    def switched(*arguments):
        controls = planned(*arguments)[0].controls
        return controls.vessel_permutation, controls.parameter_randomisation, controls.erasure

    assert switched() == (True, True, True)
    assert switched("--controls", "erasure, vessel_permutation") == (True, False, True)
    assert switched("--controls", "none") == (False, False, False)
    for wrong, hint in (("erase", "did you mean erasure"), ("xyzzy", "known: vessel_permutation, other_class, param")):
        result = CliRunner().invoke(run_benchmark.main, ["--controls", wrong, "--dry-run"])
        assert result.exit_code == 2
        assert f"control '{wrong}' is unknown; {hint}" in result.output


def test_chosen_backbones_and_strategies_keep_their_options(planned):
    study, _, _ = planned("--backbones", "retfound-vit-l16, dinov2-tiny", "--strategies", "full,lora")
    assert [(choice.name, choice.weights) for choice in study.backbones] == [
        ("retfound-vit-l16", Path("/weights/retfound.pth")),
        ("dinov2-tiny", None),
    ]
    assert [choice.name for choice in study.strategies] == ["full", "lora"]
    assert study.strategies[1].open().rank == 2


def test_a_configuration_without_a_cohort_may_be_completed_by_data(planned, config):
    config.write_text(yaml.safe_dump(STUDY | {"cohort": {}}), encoding="utf-8")
    study, _, _ = planned("--data", "cohort.csv", "--strategies", "lora")
    assert study.cohort.manifest.name == "cohort.csv"
    assert study.strategies[0].open().rank == 2


def test_seeds(planned):
    assert planned("--seeds", "0, 3")[0].seeds == [0, 3]
    with pytest.raises(UserError) as caught:
        planned("--seeds", "0,three")
    assert str(caught.value).startswith("--seeds: Input should be a valid integer")
    assert str(caught.value).endswith("got 'three'")
    assert len(str(caught.value).splitlines()) == 1


def test_set_takes_any_key_after_the_other_options(planned, tmp_path):
    study, out, _ = planned(
        "--set", "training.epochs=50", "--data", "cohort.csv", "--set", "cohort.image_dir=photos", "--backbones",
        "retfound-vit-l16", "--set", "backbones.0.weights=w.pth", "--set", "name=a=b",
    )  # fmt: skip
    assert study.training.epochs == 50
    assert (study.cohort.manifest, study.cohort.image_dir) == (tmp_path / "cohort.csv", tmp_path / "photos")
    assert [(choice.name, choice.weights) for choice in study.backbones] == [("retfound-vit-l16", tmp_path / "w.pth")]
    assert (study.name, out) == ("a=b", Path("runs/a=b"))


def test_set_completes_a_configuration(planned, config, tmp_path):
    config.write_text(yaml.safe_dump(STUDY | {"cohort": {}}), encoding="utf-8")
    study, _, _ = planned("--set", "cohort.manifest=c.csv", "--strategies", "lora")
    assert study.cohort.manifest == tmp_path / "c.csv"
    assert study.strategies[0].open().rank == 2


def test_set_is_recorded_in_the_run_s_own_configuration(planned):
    study, out, _ = planned("--set", "training.epochs=50", "--set", "backbones.1.weights=w.pth")
    directory = RunDirectory(out)
    directory.claim(study.dump(), resume=False)
    assert load_study(directory.study) == study
    assert yaml.safe_load(directory.study.read_text(encoding="utf-8"))["training"]["epochs"] == 50


def test_the_doctor_takes_set(config, monkeypatch):
    calls = []
    monkeypatch.setattr("benchmark.preflight.doctor.diagnose", lambda *arguments: calls.append(arguments))
    arguments = ["doctor", "--config", str(config), "--set", "training.epochs=50"]
    assert CliRunner().invoke(run_benchmark.main, arguments, catch_exceptions=False).exit_code == 0
    assert calls[0][0].training.epochs == 50


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["training.epochs"], "training.epochs: write KEY=VALUE, as in training.epochs=50"),
        (["vessels.weights="], "vessels.weights: the value is empty; write vessels.weights=null for none"),
        (["name=a", "name=b"], "name is given twice"),
    ],
)
def test_an_invalid_setting_is_a_wrong_option(texts, message):
    arguments = [part for text in texts for part in ("--set", text)]
    result = CliRunner().invoke(run_benchmark.main, [*arguments, "--dry-run"])
    assert result.exit_code == 2
    assert message in result.output


def test_an_unknown_key_in_set_is_one_line(planned):
    with pytest.raises(UserError) as caught:
        planned("--set", "trainign.epochs=5")
    assert str(caught.value) == "--set trainign.epochs: unknown key; did you mean training.epochs?"


def test_schema_writes_the_schema_that_configs_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, path in (([], "schema.json"), (["--out", "new/study.json"], "new/study.json")):
        result = CliRunner().invoke(run_benchmark.main, ["schema", *arguments], catch_exceptions=False)
        assert (result.exit_code, result.output) == (0, f"Schema: {path}\n")
        assert Path(path).read_bytes() == (ROOT / "configs" / "schema.json").read_bytes()


def test_names_that_do_not_exist_are_one_line_with_the_nearest(planned):
    for option, name, near in (("--backbones", "openclip", "openclip-tiny"), ("--strategies", "lara", "lora")):
        with pytest.raises(UserError, match=rf"^{option}: .* {name!r} is unknown; did you mean {near}"):
            planned(option, name)


def test_the_run_directory_is_the_first_that_is_free(planned, tmp_path):
    assert planned()[1] == Path("runs/small")
    (tmp_path / "runs" / "small").mkdir(parents=True)
    assert planned()[1] == Path("runs/small-2")
    (tmp_path / "runs" / "small-2").mkdir()
    assert planned()[1] == Path("runs/small-3")
    assert planned("--out", "elsewhere")[1] == Path("elsewhere")


def test_resume_continues_the_latest(planned, tmp_path):
    assert planned("--resume")[1] == Path("runs/small")
    for name in ("small", "small-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert planned("--resume")[1] == Path("runs/small-2")


def test_a_cluster_with_and_without_an_address(planned):
    assert planned("--cluster")[2] == "auto"
    assert planned("--cluster", "10.0.0.1:6379")[2] == "10.0.0.1:6379"


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (2, 3)])
def test_the_exit_code_reports_failed_trials(config, monkeypatch, failed, code):
    calls = {}
    monkeypatch.setattr(
        "benchmark.stages.pipeline.run_study", lambda study, out, **options: calls.update(options) or "board"
    )
    monkeypatch.setattr("benchmark.report.terminal.print_leaderboard", lambda board, *arguments: failed)
    result = CliRunner().invoke(run_benchmark.main, ["--config", str(config), "--out", "x", "--resume"])
    assert result.exit_code == code
    assert calls == {"cluster": None, "resume": True, "report_only_these": False}


@pytest.mark.parametrize(
    "before", [["--data"], ["--out"], ["compare", "a", "b", "--out"], ["leaderboard", "a", "--out"]]
)
def test_a_url_is_not_a_path(before):
    result = CliRunner().invoke(run_benchmark.main, [*before, "s3://lab/cohort.csv"])
    assert result.exit_code == 2
    assert "mount the storage" in result.output


def test_reference_prints_what_can_be_reproduced_and_what_cannot():
    result = CliRunner().invoke(run_benchmark.main, ["reference"], catch_exceptions=False)
    assert result.exit_code == 0
    for number in ("0.042", "p = 0.914", "0.343"):
        assert number in result.output


def test_compare_and_leaderboard_need_runs(tmp_path):
    for command in ("compare", "leaderboard"):
        assert CliRunner().invoke(run_benchmark.main, [command]).exit_code == 2, "no run is named"
        result = CliRunner().invoke(run_benchmark.main, [command, str(tmp_path / "a"), str(tmp_path / "b")])
        assert isinstance(result.exception, UserError)
        assert str(tmp_path / "a") in str(result.exception), "the run that does not exist"


@pytest.fixture
def results(tmp_path) -> Path:
    path = tmp_path / "lab" / "results.json"
    path.parent.mkdir()
    path.write_text(results_of(big__lora=0.8, big__full=0.7).model_dump_json(), encoding="utf-8")
    return path


@pytest.fixture
def comparable(config, monkeypatch) -> list[str]:
    """Run directories whose comparison is replaced by an empty table."""
    monkeypatch.setattr("benchmark.analysis.compare.compare_runs", lambda runs: pl.DataFrame(schema=SCHEMA))
    return [str(config.parent), str(config.parent)]


def test_compare_makes_the_folders_of_its_file(comparable, tmp_path):
    out = tmp_path / "new" / "folder" / "comparison.csv"
    result = CliRunner().invoke(run_benchmark.main, ["compare", *comparable, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert out.read_text(encoding="utf-8").strip() == ",".join(SCHEMA)
    assert str(out) in result.output


def error_of(*arguments: object) -> str:
    """The one line that a command fails with."""
    result = CliRunner().invoke(run_benchmark.main, [str(argument) for argument in arguments])
    assert isinstance(result.exception, UserError), result.exception
    assert len(str(result.exception).splitlines()) == 1
    return str(result.exception)


def test_an_out_that_compare_cannot_write_is_reported_with_the_fix(comparable, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    fix = "; name a file to write with --out"
    for out, why in (
        ("folder", "folder: is a folder"),
        ("file/c.csv", "file: is a file where a folder is needed"),
        ("file/sub/c.csv", "file/sub: would be inside a file"),
        ("loop", "loop: cannot be written (Too many levels of symbolic links)"),
    ):
        assert error_of("compare", *comparable, "--out", tmp_path / out) == f"{tmp_path}/{why}{fix}"


def test_an_out_that_leaderboard_cannot_write_is_reported_with_the_fix(results, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "other" / "overview.html").mkdir(parents=True)
    fix = "; name a folder to write with --out"
    for out, why in (
        ("file", "file: is a file where a folder is needed"),
        ("file/sub", "file/sub: would be inside a file"),
        ("other", "other/overview.html: is a folder"),
    ):
        assert error_of("leaderboard", results, "--out", tmp_path / out) == f"{tmp_path}/{why}{fix}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_reported(comparable, results, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    for arguments in (["compare", *comparable], ["leaderboard", results]):
        assert "cannot be written (Permission denied); name a f" in error_of(
            *arguments, "--out", tmp_path / "locked" / "x"
        )


def test_an_out_that_cannot_be_written_is_one_line_without_a_traceback(results, tmp_path):
    result = process("run_benchmark.py", "leaderboard", str(results), "--out", str(results))
    assert result.returncode == 1
    assert result.stderr == f"error: {results}: is a file where a folder is needed; name a folder to write with --out\n"


def commands(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in its own process; its output is read as UTF-8, with other bytes as escapes."""
    command = [sys.executable, "run_benchmark.py", *arguments]
    variables = os.environ | environment
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, encoding="utf-8", errors="backslashreplace",
        check=False,
    )  # fmt: skip


TERMINALS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "dumb": {"TERM": "dumb"},
    "narrow": {"COLUMNS": "40"},
}


@pytest.fixture
def cohort(tmp_path) -> Path:
    """Twelve patients; not every terminal can show the names of their images, and the first image is missing."""
    rows = [f"σ-{number}.jpg,{number % 2},{number},a{number}.png,v{number}.png" for number in range(12)]
    for row in rows[1:]:
        (tmp_path / row.partition(",")[0]).write_text(f"not decoded: {row}", encoding="utf-8")
    path = tmp_path / "cohört.csv"
    path.write_text("\n".join(["image,label,patient_id,artery_mask,vein_mask", *rows]), encoding="utf-8")
    return path


def test_a_plan_is_shown_on_a_narrow_terminal(config, cohort):
    """In this process: another one would import torch."""
    arguments = [
        "--config", str(config), "--data", str(cohort), "--strategies", "classifier_only",
        "--backbones", "openclip-tiny", "--out", "runs/ä", "--dry-run",
    ]  # fmt: skip
    result = CliRunner().invoke(run_benchmark.main, arguments, env=TERMINALS["narrow"])
    assert result.exit_code == 1, "there are no mask files"
    assert "1 of 12 files are missing" in " ".join(result.output.split())
    assert "σ-0.jpg" in "".join(result.output.split())


@pytest.mark.slow
def test_a_plan_is_shown_on_a_terminal_without_utf_8(config, cohort):
    """Textualize/rich#212: it has to show the name of a missing file."""
    result = commands("--config", str(config), "--data", str(cohort), "--dry-run", **TERMINALS["C without UTF-8"])
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "?-0.jpg" in "".join(result.stdout.split())


@pytest.mark.parametrize("terminal", TERMINALS)
def test_an_error_is_one_line_on_any_terminal(terminal, tmp_path):
    result = commands("--config", str(tmp_path / "σ.yaml"), "--dry-run", **TERMINALS[terminal])
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith("error: ")
    assert "cannot be read (No such file or directory)" in result.stderr


def test_other_commands_work_on_a_terminal_without_unicode(results, tmp_path):
    assert commands("reference", **TERMINALS["ascii"]).returncode == 0
    page = tmp_path / "σ [x]"
    result = commands("leaderboard", str(results), "--out", str(page), **TERMINALS["ascii"])
    assert result.returncode == 0, result.stderr
    assert f"Page: {tmp_path}/? [x]/overview.html" in result.stdout
    assert (page / "overview.html").is_file()


def test_a_pipe_that_closes_early_is_not_an_error():
    command = f"{sys.executable} run_benchmark.py reference | head -n 1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_output_that_is_lost_on_a_full_disk_is_an_error():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = f"{sys.executable} run_benchmark.py reference > /dev/full"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "error: standard output: No space left on device; the printed output is incomplete\n"


def test_a_bug_in_the_program_is_one_line_with_its_log(tmp_path):
    script = """
import run_benchmark
def broken():
    raise ValueError("a slip\\nin two lines")
run_benchmark.main.commands["reference"].callback = broken
run_benchmark.run()
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script, "reference"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: unexpected ValueError: in two lines; this is a bug in the program: please report")
    log = Path(line.rpartition("; log: ")[2])
    assert log.parent == tmp_path
    assert "in broken\n" in log.read_text()


def test_a_tilde_is_the_home_folder(planned, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    study, out, _ = planned("--out=~/runs/x", "--data=~/cohort.csv")
    assert out == tmp_path / "home" / "runs" / "x"
    assert study.cohort.manifest == tmp_path / "home" / "cohort.csv"
    assert planned("--out", "-x")[1] == Path("-x")


@pytest.mark.parametrize(
    ("value", "message"),
    [("", "the path is empty; look for an unset variable"), ("a\udcff", "the path is not valid UTF-8 text")],
)
def test_an_invalid_path_is_one_line(value, message):
    for option in ("--out", "--data", "--config"):
        result = CliRunner().invoke(run_benchmark.main, [option, value, "--dry-run"])
        assert result.exit_code == 2
        assert message in result.output


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (["--backbones", "dinov2-tinny"], "--backbones: backbone 'dinov2-tinny' is unknown; did you mean dinov2-tiny"),
        (["--strategies", "lorra"], "--strategies: strategy 'lorra' is unknown; did you mean lora?"),
        (["--cam", "gradcamm"], "demo.yaml with --cam: explain: explanation method 'gradcamm' is unknown"),
        (["--positive", "2"], "demo.yaml with --positive: cohort: positive belongs to a manifest"),
        (["--seeds", "0", "--set", "seeds=x"], "--set seeds: Input should be a valid list"),
    ],
)
def test_a_fault_names_what_the_user_typed(planned, options, start):
    with pytest.raises(UserError) as caught:
        planned("--config", str(run_benchmark.DEMO), *options)
    assert str(caught.value).removeprefix(f"{run_benchmark.DEMO.parent}/").startswith(start)


def test_the_version_is_printed():
    result = CliRunner().invoke(run_benchmark.main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"retina-benchmark, version {__version__}\n")


def test_only_a_near_option_is_suggested():
    far, near = (CliRunner().invoke(run_benchmark.main, [option]).output for option in ("--bogus", "--backbonez"))
    assert "Did you mean" not in far
    assert "Did you mean '--backbones'?" in near


def test_a_wnet_checkpoint_is_converted_or_refused_in_one_line(tmp_path):
    from xai.vessels.wnet import WNet, load_wnet

    torch.save({"model_state_dict": WNet().state_dict()}, tmp_path / "model_checkpoint.pth")
    out = tmp_path / "new" / "wnet.safetensors"
    arguments = ["convert-wnet", str(tmp_path / "model_checkpoint.pth"), str(out)]
    result = CliRunner().invoke(run_benchmark.main, arguments, catch_exceptions=False)
    assert (result.exit_code, "set vessels.size" in result.output) == (0, True)
    result = CliRunner().invoke(run_benchmark.main, [*arguments, "--size", "1024"], catch_exceptions=False)
    assert "trained at 1024 pixels" in result.output
    assert load_wnet(out)[1] == 1024
    with pytest.raises(UserError, match=r"nothing\.pth: "):
        absent = ["convert-wnet", str(tmp_path / "nothing.pth"), str(out)]
        CliRunner().invoke(run_benchmark.main, absent, catch_exceptions=False)
