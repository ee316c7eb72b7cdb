"""Images with their masks, from files to coverage: damaged and misleading mask files, one image each."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from benchmark.errors import UserError
from benchmark.report.facts import vessel_facts
from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import segment as stage
from benchmark.stages.run import Run
from benchmark.stages.segment import SegmentWorker, load_row, open_vessels, require_own_masks
from benchmark.storage.rundir import RunDirectory, open_array, write_parquet
from benchmark.study.config import Resources, Study
from benchmark.synthetic import SyntheticCohort, plan
from benchmark.synthetic.eye import draw_eye
from xai.crop import square_around

MASKS = ("artery", "vein", "disc", "fov")


@pytest.fixture(scope="module")
def eye():
    cohort = SyntheticCohort(patients=4, image_size=160, seed=1)
    row = plan(cohort)[0]
    return draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], False)


@pytest.fixture
def row(tmp_path, eye):
    """The row of that eye's image, with its four masks written as PNG."""
    Image.fromarray(eye.rgb).save(tmp_path / "eye.png")
    for mask in MASKS:
        Image.fromarray(getattr(eye, mask).astype(np.uint8) * 255).save(tmp_path / f"{mask}.png")
    square = square_around(eye.fov)
    return {
        "position": 0, "image": "eye.png", "path": str(tmp_path / "eye.png"),
        "top": square.top, "left": square.left, "side": square.side,
        **{f"{mask}_mask": str(tmp_path / f"{mask}.png") for mask in MASKS},
    }  # fmt: skip


@pytest.fixture(scope="module")
def worker():
    return SegmentWorker("masks", None, None, Resources())


def segmented(worker, row):
    (result,) = worker([load_row(row)])
    return result


def rewrite(path, change):
    Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


def second_chunk_damaged(path):
    """A PNG with several data chunks; the name of the second is damaged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("PIL.ImageFile.MAXBLOCK", 4096)
        Image.open(path).save(path, compress_level=0)
    data = bytearray(path.read_bytes())
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    data[second] = 0
    path.write_bytes(data)


def test_good_masks(worker, row, eye):
    result = segmented(worker, row)
    assert result["error"] == result["disc_error"] == result["note"] == ""
    artery, vein, vessel, fov = result["planes"].sum(axis=(1, 2), dtype=float) / 255
    assert artery / fov == pytest.approx((eye.artery & eye.fov).sum() / eye.fov.sum(), rel=0.01)
    assert vessel < artery + vein
    assert result["disc"].any()
    assert result["on_vessels"] > 0.2 > result["on_vessels_turned"]


DAMAGES = {
    "second chunk": second_chunk_damaged,
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_bytes(b"no picture"),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "bomb": lambda path: path.write_bytes(
        b"P5 40000 40000 255\n" + b"\0" * 100  # claims 1.6 billion pixels
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("column", ["artery_mask", "vein_mask"])
def test_a_damaged_mask_costs_its_image_alone(worker, row, tmp_path, damage, column):
    """python-pillow/Pillow#8348 (kind): a decoder's SyntaxError ended the run."""
    damage(tmp_path / f"{column.removesuffix('_mask')}.png")
    result = segmented(worker, row)
    assert result["error"].startswith(f"{column} {row[column]}: cannot be read as a mask (")
    assert len(result["error"].splitlines()) == 1
    assert not result["planes"].any()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_disc_costs_the_disc_alone(worker, row, tmp_path, damage):
    good = segmented(worker, row)
    damage(tmp_path / "disc.png")
    result = segmented(worker, row)
    assert result["error"] == ""
    np.testing.assert_array_equal(result["planes"], good["planes"])
    assert result["disc_error"].startswith(f"disc_mask {row['disc_mask']}: cannot be read as a mask (")
    assert not result["disc"].any()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_field_of_view_is_the_reason(worker, row, tmp_path, damage):
    damage(tmp_path / "fov.png")
    result = segmented(worker, row)
    assert result["error"].startswith(f"fov_mask {row['fov_mask']}: cannot be read as a mask (")


def test_masks_as_jpeg_cover_what_they_did_as_png(worker, row, tmp_path):
    """arahusky/Tensorflow-Segmentation#11: JPEG masks doubled the vessels, and moved the ratio."""
    good = segmented(worker, row)
    for mask in MASKS:
        Image.open(tmp_path / f"{mask}.png").save(tmp_path / f"{mask}.jpg", quality=90)
        row[f"{mask}_mask"] = str(tmp_path / f"{mask}.jpg")
    result = segmented(worker, row)
    assert result["error"] == ""
    assert np.abs(result["planes"].astype(int) - good["planes"]).max() <= 10
    areas = [planes.sum(axis=(1, 2), dtype=float) for planes in (result["planes"], good["planes"])]
    np.testing.assert_allclose(*areas, rtol=0.002)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [("artery", "where it is inverted"), ("vein", "where it is inverted"), ("fov", "marks the surround")],
)
def test_inverted_masks_are_never_averaged(worker, row, mask, reason):
    """mantasu/glasses-detector#23 (kind): black vessels on white gave a vessel ratio of 4.4 in place of 1.4."""
    rewrite(row[f"{mask}_mask"], lambda pixels: 255 - pixels)
    assert reason in segmented(worker, row)["error"]


@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_drawn_on_stored_pixels_are_turned_with_the_image(worker, row, eye, tmp_path, orientation):
    """wkentaro/labelme#1529, ryouchinsa/Rectlabel-support#167: labelling tools show the stored pixels."""
    upright = segmented(worker, row)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned_back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    Image.fromarray(eye.rgb).transpose(turned_back).save(tmp_path / "eye.png", exif=exif)
    for mask in MASKS:
        path = tmp_path / f"{mask}.png"
        Image.open(path).transpose(turned_back).save(path)
    result = segmented(worker, row)
    assert result["error"] == result["disc_error"] == ""
    np.testing.assert_array_equal(result["planes"], upright["planes"])
    np.testing.assert_array_equal(result["disc"], upright["disc"])
    assert result["note"] == "turned with the image"


@pytest.fixture
def run(tmp_path, row, monkeypatch):
    """A study of eight test images of that eye, in this process."""

    def stream(rows, steps, batch_size, on_wait):
        loading, segmenting = steps
        worker = segmenting.worker(**segmenting.options)
        for each in rows:
            yield from worker([loading.function(each)])

    monkeypatch.setattr(stage, "stream", stream)
    study = Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-tiny"],
            "strategies": ["partial"],
            "vessels": {"source": "masks"},
        }
    )
    directory = RunDirectory(tmp_path / "run")
    directory.claim(study.dump(), resume=False)
    cluster = Cluster(nodes=1, cpus=1, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
    images = pl.DataFrame([row | {"image": f"{number}.png", "split": "test"} for number in range(8)]).drop("position")
    return Run(study, directory, cluster, Reporter(Console(file=io.StringIO()), ("segment",))), images


def test_reasons_flags_and_notes_are_kept_and_counted(run, tmp_path, eye):
    run, images = run
    columns = {name: images[name].to_list() for name in images.columns}
    for number, (mask, change) in enumerate(
        {
            "artery": lambda pixels: 255 - pixels,
            "disc": lambda pixels: 255 - pixels,
            "vein": lambda pixels: pixels[::-1, ::-1],
        }.items(),
        start=1,
    ):
        path = str(tmp_path / f"{number}.png")
        Image.fromarray(np.ascontiguousarray(change(getattr(eye, mask).astype(np.uint8) * 255))).save(path)
        columns[f"{mask}_mask"][number] = path
    turned = str(tmp_path / "turned.png")
    Image.fromarray(np.ascontiguousarray(eye.artery[::-1, ::-1]).astype(np.uint8) * 255).save(turned)
    columns["artery_mask"][3] = turned
    write_parquet(run.directory.cohort, pl.DataFrame(columns))

    stage.segment(run)
    vessels = pl.read_parquet(run.directory.vessels)
    assert vessels["image"].to_list() == [f"{number}.png" for number in range(8)]
    assert vessels["error"].is_not_null().to_list() == [number == 1 for number in range(8)]
    assert "1.png covers" in vessels["error"][1]
    assert vessels["disc_error"].is_not_null().to_list() == [number == 2 for number in range(8)]
    assert vessels["flags"].to_list() == ["", "", "", "masks_turned", "", "", "", ""]
    assert not open_array(run.directory.regions)[1].any()
    assert run.directory.completed("segment")["failed"] == 1
    assert "half of the range" in run.directory.completed("segment")["source"]["inside"]
    facts = vessel_facts(vessels)
    assert (facts["test images without masks"], facts["flagged masks turned"]) == ("1", "1 of 8")
    assert facts["optic discs left out"].startswith("1 of 8; first reason: disc_mask ")


def test_a_study_without_any_mask_ends_here_and_continues_once_they_are_corrected(run, eye, row):
    run, images = run
    write_parquet(run.directory.cohort, images)
    rewrite(row["artery_mask"], lambda pixels: 255 - pixels)
    with pytest.raises(UserError, match=r"none of 8 test images has usable vessel masks; .* 0\.png: .* --resume"):
        stage.segment(run)
    assert run.directory.completed("segment") is None
    assert pl.read_parquet(run.directory.vessels)["error"].count() == 8

    rewrite(row["artery_mask"], lambda pixels: 255 - pixels)
    stage.segment(run)
    assert run.directory.completed("segment")["failed"] == 0


def test_images_that_share_a_result_of_automorph_are_refused_before_the_run(run, tmp_path):
    """rmaphoh/AutoMorph#14: maps are named by the file's name up to the first dot, folders ignored."""
    run, images = run
    (tmp_path / "Results" / "M0").mkdir(parents=True)
    (tmp_path / "Results" / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    header = "Name,centre_w,centre_h,radius,Scale,Scale_resolution\n"
    (tmp_path / "Results" / "M0" / "crop_info.csv").write_text(f"{header}1.png,40,55,36,0.1,78.9\n")
    settings = {"source": "automorph_results", "weights": tmp_path / "Results"}
    study = Study.model_validate(run.study.model_dump() | {"vessels": settings})
    source = open_vessels(study)
    two = images.head(2).with_columns(image=pl.Series(["OD/1.jpg", "OS/1.jpg"]))
    with pytest.raises(UserError, match=r"^vessels: OD/1\.jpg and OS/1\.jpg share AutoMorph's map 1\.png, "):
        require_own_masks(source, two)
    require_own_masks(source, two.head(1))
    require_own_masks(open_vessels(run.study), two)
