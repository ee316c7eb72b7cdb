"""Studies read from YAML: valid ones, and the errors of faulty ones."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from benchmark.errors import UserError
from benchmark.study.config import Study, load_study, study_schema

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
STUDY = {
    "name": "small",
    "cohort": {"synthetic": {"patients": 10}},
    "backbones": ["openclip-tiny"],
    "strategies": ["classifier_only"],
}


def test_a_worker_reads_a_study_without_waiting_for_torch():
    script = """
import pickle, sys
study = pickle.load(sys.stdin.buffer)
assert study.explain.method == "gradcam"
assert not {"torch", "timm", "scipy.stats"} & set(sys.modules), "a heavy module was imported"
"""
    pickled = pickle.dumps(Study.model_validate(STUDY))
    subprocess.run([sys.executable, "-c", script], cwd=CONFIGS.parent, input=pickled, check=True)


@pytest.fixture
def write(tmp_path):
    """Write a study, given as values or as text, and return its path."""

    def write(study) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(study if isinstance(study, str) else yaml.safe_dump(study), encoding="utf-8")
        return path

    return write


@pytest.fixture
def refusal(write):
    """The lines with which a faulty study is refused, without the file name at the start of each."""

    def refusal(study) -> list[str]:
        path = write(study)
        with pytest.raises(UserError) as caught:
            load_study(path)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return refusal


def only(lines: list[str]) -> str:
    (line,) = lines
    return line


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_configuration_is_a_study(path):
    study = load_study(path)
    assert study.name == path.stem
    assert Study.model_validate(study.dump()) == study


def test_the_demo_and_the_paper_are_nine_cells_each():
    strategies = ["classifier_only", "partial", "lora"]
    for name, families in {"demo": "-tiny", "paper": "-vit-"}.items():
        study = load_study(CONFIGS / f"{name}.yaml")
        assert [choice.name for choice in study.strategies] == strategies
        assert len(study.backbones) == 3
        assert all(families in choice.name for choice in study.backbones)


def test_the_planted_studies_differ_only_in_the_place_of_the_signal():
    vessels, periphery = (load_study(CONFIGS / f"planted-{signal}.yaml").dump() for signal in ("vessels", "periphery"))
    demo = load_study(CONFIGS / "demo.yaml")
    assert len(vessels["backbones"]) * len(vessels["strategies"]) == 9 and len(vessels["seeds"]) >= 5
    assert vessels["cohort"]["synthetic"]["seed"] != demo.cohort.synthetic.seed
    assert vessels["cohort"]["synthetic"].pop("signal") == vessels.pop("name").removeprefix("planted-") == "vessels"
    assert periphery["cohort"]["synthetic"].pop("signal") == periphery.pop("name").removeprefix("planted-")
    assert vessels == periphery


def test_keys_that_a_study_omits_have_defaults(write):
    study = load_study(write(STUDY))
    assert study.seeds == [0]
    assert study.vessels.source == "masks"
    assert study.cohort.shares.train + study.cohort.shares.val + study.cohort.shares.test == pytest.approx(1)
    assert study.statistics.confidence == 0.95


def test_paths_are_relative_to_the_file(write, tmp_path):
    study = load_study(
        write(
            STUDY
            | {
                "cohort": {"manifest": "data/cohort.csv", "image_dir": "/photos"},
                "vessels": {"source": "wnet", "weights": "~/wnet.safetensors"},
                "backbones": [{"name": "retfound-vit-l16", "weights": "retfound.pth"}],
            }
        )
    )
    assert study.cohort.manifest == tmp_path / "data" / "cohort.csv"
    assert study.cohort.image_dir == Path("/photos")
    assert study.vessels.weights == Path.home() / "wnet.safetensors"
    assert study.backbones[0].weights == tmp_path / "retfound.pth"


def test_a_study_read_back_from_its_dump_is_the_same(write):
    study = load_study(
        write(
            STUDY
            | {
                "cohort": {"manifest": "kohorte-ä.csv", "patient_pattern": r"^(\d+)_"},
                "backbones": ["dinov2-tiny", {"name": "retfound-vit-l16", "weights": "retfound.pth"}],
                "strategies": ["full", {"name": "lora", "rank": 2, "learning_rate": 0.01}],
                "seeds": [3, 1],
                "resources": {"gpus": 0.5},
            }
        )
    )
    as_yaml = yaml.safe_dump(study.dump(), allow_unicode=True)
    again = Study.model_validate(yaml.safe_load(as_yaml))
    assert again == study
    assert again.strategies[1].open() == study.strategies[1].open()
    assert again.strategies[1].open().rank == 2


def test_overrides_replace_single_keys_and_leave_the_rest(write):
    path = write(STUDY | {"cohort": {"synthetic": {"patients": 10}, "max_rejected": 0.2}, "vessels": {"size": 512}})
    study = load_study(
        path,
        {"cohort": {"manifest": "/data/cohort.csv", "synthetic": None}, "vessels": {"source": "wnet"}, "seeds": ["1"]},
    )
    assert study.cohort.manifest == Path("/data/cohort.csv")
    assert study.cohort.max_rejected == 0.2
    assert (study.vessels.source, study.vessels.size) == ("wnet", 512)
    assert study.seeds == [1]


def test_options_of_a_strategy_take_the_types_of_its_fields(write):
    """PyYAML reads 1e-3, a number in YAML 1.2, as text."""
    text = yaml.safe_dump(STUDY | {"strategies": []}).replace("[]", "[{name: partial, blocks: 1, learning_rate: 1e-3}]")
    (choice,) = load_study(write(text)).strategies
    assert choice.open().learning_rate == 0.001
    assert choice.model_dump() == {"name": "partial", "blocks": 1, "learning_rate": 0.001}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainning": {}}, "trainning: unknown key; known: name, cohort, splits, vessels, backbones, strategies, see"),
        ({"training": {"epoch": 3}}, "training.epoch: unknown key; known: epochs, batch_size"),
        ({"cohort": {"synthetic": {"people": 3}}}, "cohort.synthetic.people: unknown key; known: patients, image_size"),
        ({"backbones": [{"name": "openclip-tiny", "file": "x"}]}, "backbones.0.file: unknown key; known: name, weigh"),
        ({"training": {"epochs": "many"}}, "training.epochs: Input should be a valid integer"),
        ({"training": {"epochs": 0}}, "training: epochs must be at least 1, not 0"),
        ({"training": {"warmup": 5}}, "training: warmup is a share of all steps, from 0 to below 1, not 5"),
        ({"tracking": {"mlflow": "127.0.0.1:5000"}}, "tracking.mlflow: '127.0.0.1:5000' is not the address of"),
        ({"tracking": {"mlflow": "http://"}}, "tracking.mlflow: 'http://' is not the address of a server: write http"),
        ({"tracking": {"mlflow": "http://me:secret@lab"}}, "tracking.mlflow: give the name and the password in the"),
        ({"name": 7}, "name: Input should be a valid string"),
        ({"backbones": 3}, "backbones: Input should be a valid list"),
        ({"backbones": []}, "backbones: List should have at least 1 item"),
        ({"cohort": {"manifest": "a.csv", "shares": {"train": 0.9}}}, "cohort.shares: train, val and test add up to"),
        ({"cohort": {"manifest": "a.csv", "shares": {"val": -1}}}, "cohort.shares.val: Input should be greater than 0"),
        ({"cohort": {"manifest": "a.csv", "synthetic": {}}}, "cohort: give either a manifest or a synthetic cohort"),
        ({"cohort": {"image_dir": "a", "synthetic": {}}}, "cohort: image_dir, patient_pattern and columns belong"),
        ({"cohort": {"manifest": "a", "positive": " , "}}, "cohort.positive: names no class: name those that are"),
        ({"cohort": {"manifest": "a", "positive": [2, True]}}, "cohort.positive: is a yes/no value in YAML: put the"),
        ({"name": "lab/x"}, "name: 'lab/x' contains '/'; give a name for runs/<name>, or a path with --out"),
        ({"name": ".."}, "name: '..' is not the name of a folder; give a name for runs/<name>"),
        ({"name": " "}, "name: ' ' is not the name of a folder; give a name for runs/<name>"),
        ({"cohort": {"positive": "a", "synthetic": {}}}, "cohort: positive belongs to a manifest: give one (--data)"),
        ({"cohort": {"manifest": "a", "positive": True}}, "cohort.positive: is a yes/no value in YAML: put the name"),
        ({"cohort": {}}, "cohort: give either a manifest or a synthetic cohort"),
        ({"cohort": {"synthetic": {"patients": 1}}}, "cohort.synthetic: patients is 1: a cohort needs at least 2"),
        ({"cohort": {"manifest": "a", "patient_pattern": "("}}, "cohort.patient_pattern: '(' is not a regular expres"),
        ({"cohort": {"manifest": "a", "patient_pattern": "x"}}, "cohort.patient_pattern: 'x' has no group: put paren"),
        ({"backbones": ["openclip-tyni"]}, "backbones.0: backbone 'openclip-tyni' is unknown; did you mean openclip-"),
        ({"strategies": [{"name": ["lora"]}]}, "strategies.0.name: Input should be a valid string"),
        ({"strategies": ["lorra"]}, "strategies.0: strategy 'lorra' is unknown; did you mean lora?"),
        ({"strategies": [{"name": "lora", "rnak": 4}]}, "strategies.0: strategy lora: no option rnak; known: learnin"),
        ({"strategies": [{"name": "partial", "blocks": "two"}]}, "strategies.0: blocks: Input should be a valid inte"),
        ({"strategies": [{"name": "partial", "blocks": 4}]}, "strategies: on openclip-tiny, partial: blocks is 4, bu"),
        ({"strategies": ["lora", {"name": "lora", "rank": 2}]}, "strategies: lora is listed twice"),
        ({"backbones": ["openclip-tiny", "openclip-tiny"]}, "backbones: openclip-tiny is listed twice"),
        ({"seeds": [1, 1]}, "seeds: the same seed is listed twice"),
        ({"seeds": ["one"]}, "seeds.0: Input should be a valid integer"),
        ({"backbones": [{"name": "dinov2-vit-g14", "sha256": "abc"}]}, "backbones.0.sha256: String should match patte"),
        ({"backbones": [{"name": "dinov2-tiny", "revision": "v1"}]}, "backbones.0: dinov2-tiny has no weights on the"),
        ({"strategies": [{"name": "lora", "rank": 0}]}, "strategies.0: lora: rank must be at least 1, not 0"),
        ({"strategies": [{"name": "full", "layer_decay": 2}]}, "strategies.0: full: layer_decay is above 0 and at mo"),
        ({"strategies": [{"name": "lora", "learning_rate": -1}]}, "strategies.0: lora: learning_rate must be at leas"),
        ({"training": {"micro_batch": 64}}, "training: micro_batch (64) is larger than batch_size (32)"),
        ({"training": {"balance": "sample"}}, "training.balance: Input should be 'weights', 'sampling' or 'none'"),
        ({"splits": {"folds": 1}}, "splits.folds: Input should be greater than or equal to 2"),
        ({"embeddings": {"dtype": "int8"}}, "embeddings.dtype: Input should be 'float16' or 'bfloat16'"),
        ({"search": {"candidates": 1}}, "search.candidates: Input should be greater than or equal to 2"),
        ({"explain": {"method": "gradcan"}}, "explain: explanation method 'gradcan' is unknown; did you mean gradcam"),
        ({"explain": {"block": 9}}, "explain: on openclip-tiny, gradcam: block 9 of a model of 4 blocks"),
        ({"strategies": ["full", {"name": "lora", "targets": "q_proj"}]}, "strategies.1: targets match no module of o"),
        ({"strategies": [{"name": "lora", "targets": "("}]}, "strategies.0: lora: targets '(' is not a regular expres"),
        ({"strategies": [{"name": "lora", "targets": 5}]}, "strategies.0: targets: Input should be a valid string"),
        ({"strategies": [{"name": "lora", "rank": 97}]}, "strategies.0: rank 97 is too high for the attention of open"),
        ({"strategies": [{"name": "full", "learning_rate": float("inf")}]}, "strategies.0: full: learning_rate mu"),
        ({"strategies": [{"name": "full", "learning_rate": 0}], "search": {}}, "strategies.0: a search needs a learni"),
        ({"training": {"weight_decay": float("nan")}}, "training.weight_decay: Input should be a finite number"),
        ({"embeddings": {"max_gib": float("inf")}}, "embeddings.max_gib: Input should be a finite number"),
        ({"backbones": ["timm:vit_pwee_patch16_reg1_gap_256"]}, "backbones.0: timm:vit_pwee_patch16_reg1_gap_256: its"),
        ({"backbones": ["timm:test_vit3"], "explain": {"method": "rollout"}}, "explain: on timm:test_vit3, rollout su"),
        ({"cohort": {"manifest": "a", "patient_pattern": "(a{99999999999})"}}, "cohort.patient_pattern: '(a{999999999"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_the_key(refusal, change, message):
    assert only(refusal(STUDY | change)).startswith(message)


def test_targets_of_another_model_are_refused_before_anything_runs(refusal):
    """huggingface/peft#40, hiyouga/LlamaFactory#43, #1785."""
    study = STUDY | {"backbones": ["retfound-tiny"], "strategies": [{"name": "lora", "targets": "[.]*(q_proj|v_proj)"}]}
    refused = only(refusal(study))
    assert refused.startswith("strategies.0: targets match no module of retfound-tiny; ")
    assert ": blocks.0.attn.qkv, blocks.0.attn.proj, " in refused


def test_targets_must_fit_every_backbone(refusal):
    """A gated MLP has layers that a plain one lacks."""
    strategy = {"name": "lora", "targets": r".*\.fc1_g"}
    study = STUDY | {"backbones": ["openclip-tiny", "dinov2-tiny"], "strategies": [strategy]}
    assert only(refusal(study)).startswith("strategies.0: targets match no module of openclip-tiny")


def test_several_faults_are_reported_together(refusal):
    lines = refusal({"name": "x", "cohort": {"synthetic": {}}, "foo": 1})
    assert [line.split(":")[0] for line in lines] == ["backbones", "strategies", "foo"]
    assert lines[0] == "backbones: is missing"


def test_yaml_that_cannot_be_read_names_the_line(refusal):
    line = only(refusal("name: x\ncohort: [\n"))
    assert line.startswith("not valid YAML")
    assert "line 3" in line


def test_a_duplicate_key_is_refused(refusal):
    text = yaml.safe_dump(STUDY) + "training:\n  epochs: 3\n  views: 2\n  epochs: 4\n"
    line = only(refusal(text))
    assert "duplicate key 'epochs'" in line
    assert f"line {len(text.splitlines())}" in line


@pytest.mark.parametrize(("text", "found"), [("- a\n- b\n", "list"), ("hello", "str"), ("", "NoneType")])
def test_a_file_without_keys_is_refused(refusal, text, found):
    assert only(refusal(text)) == f"expected keys and values (name: …, cohort: …), found {found}"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Jürgen\n".encode("latin-1"))
    for path, reason in {tmp_path / "none.yaml": "No such file", tmp_path: "Is a directory", latin: "utf-8"}.items():
        with pytest.raises(UserError, match=reason) as caught:
            load_study(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert len(str(caught.value).splitlines()) == 1


def test_set_replaces_any_key_after_the_overrides(write):
    path = write(STUDY | {"backbones": ["openclip-tiny", "dinov2-tiny"], "vessels": {"source": "wnet", "size": 512}})
    settings = {
        "training.epochs": "50",
        "backbones.1.sha256": "a" * 64,
        "strategies.0": "{name: lora, rank: 2}",
        "strategies.0.learning_rate": "1e-3",
        "search.candidates": "7",
        "vessels.size": "null",
        "seeds": "[0, 3]",
        "seeds.1": "5",
        "cohort.synthetic.patients": "12",
        "name": "fifty",
    }
    study = load_study(path, {"training": {"epochs": 3, "views": 2}, "name": "three"}, settings)
    assert (study.name, study.training.epochs, study.training.views) == ("fifty", 50, 2)
    assert [(choice.name, choice.sha256) for choice in study.backbones] == [
        ("openclip-tiny", None),
        ("dinov2-tiny", "a" * 64),
    ]
    assert study.strategies[0].model_dump() == {"name": "lora", "rank": 2, "learning_rate": 0.001}
    assert study.search.candidates == 7
    assert (study.vessels.source, study.vessels.size) == ("wnet", None)
    assert study.seeds == [0, 5]
    assert study.cohort.synthetic.patients == 12


def test_a_path_given_to_set_starts_from_the_current_directory(write, tmp_path, monkeypatch):
    path = write(STUDY | {"cohort": {"manifest": "data.csv"}})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = {
        "backbones.0.weights": "w.pth",
        "vessels.weights": "~/v.pth",
        "cohort": "{manifest: c.csv, positive: a/b}",
    }
    study = load_study(path, settings=settings)
    assert study.backbones[0].weights == tmp_path / "here" / "w.pth"
    assert study.vessels.weights == Path.home() / "v.pth"
    assert (study.cohort.manifest, study.cohort.positive) == (tmp_path / "here" / "c.csv", ["a/b"])
    assert load_study(path, settings={"name": "x"}).cohort.manifest == tmp_path / "data.csv", "the file's own"


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("training.epoch", "5", "--set training.epoch: unknown key; did you mean training.epochs"),
        ("trainign.epochs", "5", "--set trainign.epochs: unknown key; did you mean training.epochs?"),
        ("epochs", "5", "--set epochs: unknown key; did you mean training.epochs?"),
        ("backbone.0.weights", "w", "--set backbone.0.weights: unknown key; did you mean backbones.0.weights"),
        ("strategies.0.rnak", "5", "--set strategies.0.rnak: unknown key; did you mean strategies.0.rank"),
        ("strategies.0.blocks", "5", "--set strategies.0.blocks: unknown key; "),
        ("backbones.1.weights", "w", "--set backbones.1.weights: position 1 does not exist in a list of length"),
        ("strategies.-1.rank", "5", "--set strategies.-1.rank: unknown key; did you mean strategies.0.rank"),
        ("training.epochs", "many", "--set training.epochs: Input should be a valid integer"),
        ("training", "{epoch: 5}", "--set training: training.epoch: unknown key; known: epochs, batch_size"),
        ("training.epochs", "0", "PATH with --set training.epochs: training: epochs must be at least 1, not 0"),
        ("explain.block", "9", "PATH with --set explain.block: explain: on openclip-tiny, gradcam: block 9 "),
        ("strategies.0.name", "lorra", "PATH with --set strategies.0.name: strategies.0: strategy 'lorra' is unkn"),
        ("seeds", "[0, 1", "--set seeds: not valid YAML: "),
        ("training", "{epochs: 1, epochs: 2}", "--set training: not valid YAML: "),
    ],
)  # fmt: skip
def test_a_fault_in_set_is_one_line_that_names_the_key(write, key, text, message):
    path = write(STUDY | {"strategies": ["lora"]})
    with pytest.raises(UserError) as caught:
        load_study(path, settings={key: text})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(message.replace("PATH", str(path)))


def test_a_fault_of_several_values_names_each_of_them(write):
    path = write(STUDY)
    with pytest.raises(UserError) as caught:
        load_study(path, settings={"training.batch_size": "8", "published": "true", "training.micro_batch": "9"})
    inside = "--set training.batch_size, --set training.micro_batch"
    assert str(caught.value) == f"{path} with {inside}: training: micro_batch (9) is larger than batch_size (8)"


def test_a_fault_of_the_file_is_not_blamed_on_set(write):
    path = write(STUDY | {"training": {"epochs": "many"}})
    with pytest.raises(UserError, match=r"training\.epochs: Input should be a valid integer") as caught:
        load_study(path, settings={"training.views": "2", "name": "x"})
    assert str(caught.value).startswith(f"{path}: ")


def test_the_schema_next_to_the_configurations_is_current():
    """If not, run `python run_benchmark.py schema --out configs/schema.json`."""
    assert json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8")) == study_schema()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_schema_accepts_every_shipped_configuration(path):
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    validator = Draft7Validator(study_schema())
    assert not list(validator.iter_errors(yaml.safe_load(text)))
    assert not list(validator.iter_errors(load_study(path).dump())), "as a run records it"


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({"backbones": ["timm:vit_small_patch16_224", {"name": "dinov2-tiny", "weights": "w.pth"}]}, True),
        ({"strategies": ["full", {"name": "lora", "rank": 2}]}, True),
        ({"search": None, "cohort": {"manifest": "a.csv", "positive": 1}}, True),
        ({"backbones": ["openclip-tyni"]}, False),
        ({"strategies": ["lorra"]}, False),
        ({"strategies": [{"name": "full", "rank": 2}]}, False),
        ({"training": {"epoch": 3}}, False),
        ({"training": {"balance": "sample"}}, False),
        ({"cohort": {"manifest": "a.csv", "positive": True}}, False),
        ({"explain": {"method": "gradcan"}}, False),
        ({"vessels": {"source": "wnets"}}, False),
    ],
)
def test_the_schema_accepts_a_study_and_refuses_a_faulty_one(change, accepted):
    Draft7Validator.check_schema(study_schema())
    assert Draft7Validator(study_schema()).is_valid(STUDY | change) is accepted


def test_the_schema_describes_every_key():
    def undescribed(schema, name):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value:
                yield f"{name}.{key}"
        for place, option in enumerate(schema.get("anyOf", ())):
            yield from undescribed(option, f"{name}.{place}")

    whole = study_schema()
    parts = {"": whole, **whole["$defs"]}
    assert not [key for name, part in parts.items() for key in undescribed(part, name)]
    assert "StrategyChoice" in parts and "share of the patients to train on" in json.dumps(parts["Shares"])


@pytest.mark.parametrize("written", ["2, 3,4", [2, 3, "4"], ["2", "3", "4"]])
def test_several_positive_classes(write, written):
    study = load_study(write(STUDY | {"cohort": {"manifest": "a.csv", "positive": written}}))
    assert study.cohort.positive == ["2", "3", "4"]
    settings = {"cohort.positive": "2,3", "cohort.columns.label": "grade"}
    study = load_study(write(STUDY | {"cohort": {"manifest": "a.csv"}}), settings=settings)
    assert (study.cohort.positive, study.cohort.columns.named()) == (["2", "3"], {"label": "grade"})


def external(**changes):
    study = STUDY | {
        "cohort": {"manifest": "own.csv", "labels": "eye", "columns": {"label": "grade"}, "positive": "2,3"}
    }
    return study | {"external": [{"name": "B", "manifest": "b.csv"} | changes]}


def test_an_external_cohort_is_read_like_the_studys_own(write):
    """Unless it says otherwise; its images and masks are its own."""
    study = load_study(write(external(labels="patient", max_rejected=0.2)))
    (other,) = study.external
    applied = other.study(study)
    assert (applied.cohort.labels, applied.cohort.positive) == ("patient", ["2", "3"])
    assert applied.cohort.columns.named() == {"label": "grade"}
    assert applied.cohort.manifest == write(external()).parent / "b.csv"
    assert applied.cohort.max_rejected == 0.2
    assert (applied.name, applied.external, applied.vessels) == ("small, B", [], study.vessels)
    drawn = load_study(write(external(manifest=None, synthetic={"patients": 8, "seed": 2})))
    assert drawn.external[0].cohort(drawn.cohort).columns.named() == {}, "a drawn cohort has the usual columns"


def test_an_external_cohort_stays_the_same_in_the_record_of_a_run(write):
    """study.yaml has every key, also those that were left out."""
    study = load_study(write(external()))
    assert Study.model_validate(study.dump()).dump() == study.dump()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "a/b"},
            "external.0.name: 'a/b' is not a name: begin with a letter or digit; spaces, . _ - may follow",
        ),
        ({"manifest": None}, "external: B: give either a manifest or a synthetic cohort"),
        ({"recalibrate": 1}, "external.0.recalibrate: Input should be less than 1"),
        (
            {"shares": {}},
            "external.0.shares: unknown key; known: name, manifest, image_dir, columns, patient_pattern, ",
        ),
        ({"patient_pattern": "x"}, "external: B: 'x' has no group: put parentheses around the patient id"),
    ],
)
def test_faults_of_an_external_cohort(refusal, changes, message):
    (line,) = refusal(external(**changes))
    assert line.startswith(message)


def test_two_external_cohorts_of_one_name(refusal):
    study = external()
    (line,) = refusal(study | {"external": study["external"] * 2})
    assert line == "external: B is listed twice"


def test_covariates_as_a_list_or_with_their_kinds(write, refusal):
    cohort = {"manifest": "own.csv"}
    listed = load_study(write(STUDY | {"cohort": cohort | {"covariates": ["age", "sex"]}}))
    assert listed.cohort.covariates == {"age": "auto", "sex": "auto"}
    kinds = load_study(write(STUDY | {"cohort": cohort | {"covariates": {"site": "category"}}}))
    assert kinds.cohort.covariates == {"site": "category"}
    for wrong, message in (
        (["age", "age"], "cohort.covariates: age is listed twice"),
        (["label"], "cohort.covariates: label is not a covariate: remove it"),
    ):
        assert refusal(STUDY | {"cohort": cohort | {"covariates": wrong}}) == [message]
    undrawn = {"synthetic": {"patients": 10}, "covariates": ["sex"]}
    (line,) = refusal(STUDY | {"cohort": undrawn})
    assert line == "cohort: covariates: the synthetic cohort has no sex; set synthetic.covariates, as in independent"
    drawn = {"synthetic": {"patients": 10, "covariates": "independent"}, "covariates": ["sex"]}
    assert load_study(write(STUDY | {"cohort": drawn})).cohort.covariates == {"sex": "auto"}
