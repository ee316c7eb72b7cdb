import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from xai.vessels import FundusImage, open_source

CENTRE, RADIUS = (40, 55), 36
HEADER = "Name,centre_w,centre_h,radius,Scale,Scale_resolution\n"


def fundus(rgb, image="eye.jpg"):
    return FundusImage(rgb, np.ones(rgb.shape[:2], dtype=bool), {"image": image})


@pytest.fixture
def rgb():
    """An image whose disc the frame cuts off below."""
    y, x = np.mgrid[:70, :110]
    disc = np.hypot(y - CENTRE[0], x - CENTRE[1]) <= RADIUS
    noise = np.random.default_rng(0).integers(60, 180, (70, 110, 3))
    return np.where(disc[..., None], noise, 0).astype(np.uint8)


@pytest.fixture
def results(rgb, tmp_path):
    """Results of AutoMorph on that image: artery at (10, 50), vein at (69, 60), uncertain at (40, 19)."""
    folder = tmp_path / "Results"
    (folder / "M0" / "images").mkdir(parents=True)
    (folder / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    (folder / "M0" / "crop_info.csv").write_text(f"{HEADER}eye.png,40,55,36,0.1,78.9\n")
    square = np.zeros((72, 72, 3), np.uint8)  # rows 4 to 69, columns 19 to 90 of the image
    y, x = np.mgrid[:70, :110]
    circle = (y - CENTRE[0]) ** 2 + (x - CENTRE[1]) ** 2 <= RADIUS**2
    square[3:69] = (rgb * circle[..., None])[4:70, 19:91]
    Image.fromarray(square).save(folder / "M0" / "images" / "eye.png")
    colours = np.zeros((72, 72, 3), np.uint8)
    colours[10 - 1, 50 - 19] = (255, 0, 0)
    colours[69 - 1, 60 - 19] = (0, 0, 255)
    colours[40 - 1, 19 - 19] = (0, 255, 0)
    Image.fromarray(colours).save(folder / "M2" / "artery_vein" / "raw" / "eye.png")
    return folder


def raw(results):
    return results / "M2" / "artery_vein" / "raw" / "eye.png"


def test_a_map_goes_back_to_the_images_pixels(results, rgb):
    (masks,) = open_source("automorph_results", results).segment([fundus(rgb)])
    assert masks.artery.shape == masks.vein.shape == masks.uncertain.shape == (70, 110)
    assert np.argwhere(masks.artery).tolist() == [[10, 50]]
    assert np.argwhere(masks.vein).tolist() == [[69, 60]]
    assert np.argwhere(masks.uncertain).tolist() == [[40, 19]]
    assert masks.disagreement is None


@pytest.mark.parametrize("image", ["eye.tif", "clinic/2024/eye.jpg", "eye.left.png"])
def test_results_are_found_by_the_name_up_to_the_first_dot(results, rgb, image):
    (masks,) = open_source("automorph_results", results).segment([fundus(rgb, image)])
    assert masks.artery[10, 50]


@pytest.fixture(scope="module")
def real(shared):
    example = shared / "data" / "automorph_example"
    rgb = np.asarray(Image.open(example / "images" / "1.png"))
    (masks,) = open_source("automorph_results", example / "Results").segment([fundus(rgb, "images/1.png")])
    return example, rgb, masks


def test_no_vessel_of_a_real_run_is_lost(real):
    example, rgb, masks = real
    colours = np.asarray(Image.open(example / "Results" / "M2" / "artery_vein" / "raw" / "1.png")) == 255
    for mask, channel in ((masks.artery, 0), (masks.uncertain, 1), (masks.vein, 2)):
        assert mask.shape == rgb.shape[:2]
        assert mask.sum() == colours[..., channel].sum() > 0


def test_vessels_of_a_real_run_are_dark_where_they_lie_and_nowhere_near(real):
    _, rgb, masks = real
    green = rgb[..., 1].astype(np.float32)
    contrast = green - ndimage.uniform_filter(green, 61)
    vessel = masks.artery | masks.vein | masks.uncertain
    aligned = contrast[vessel].mean()
    assert aligned < -7  # grey levels
    for shift in ((30, 0), (-30, 0), (0, 30), (0, -30)):
        assert contrast[np.roll(vessel, shift, (0, 1))].mean() > 0
    for shift in ((4, 0), (-4, 0), (0, 4), (0, -4)):
        assert contrast[np.roll(vessel, shift, (0, 1))].mean() > aligned


def test_another_image_of_the_same_size_is_refused(results, rgb):
    source = open_source("automorph_results", results)
    for other in (rgb[:, ::-1], np.roll(rgb, 2, axis=1)):
        with pytest.raises(
            ValueError, match=r"eye\.jpg: not the image that AutoMorph processed: .* differs by \d+ grey levels"
        ):
            source.segment([fundus(np.ascontiguousarray(other))])


def test_a_real_image_out_of_place_is_refused(real):
    example, rgb, _ = real
    source = open_source("automorph_results", example / "Results")
    with pytest.raises(ValueError, match="not the image that AutoMorph processed"):
        source.segment([fundus(np.roll(rgb, 3, axis=0), "1.png")])


def test_what_a_jpeg_decoder_changes_is_let_pass(results, rgb):
    noisy = rgb + (rgb > 0) * np.random.default_rng(1).integers(-2, 3, rgb.shape)
    (masks,) = open_source("automorph_results", results).segment([fundus(noisy.astype(np.uint8))])
    assert masks.artery[10, 50]


def test_without_its_crops_a_run_can_still_be_read(results, rgb):
    shutil.rmtree(results / "M0" / "images")
    (masks,) = open_source("automorph_results", results).segment([fundus(rgb)])
    assert masks.artery[10, 50]


def test_a_image_that_m0_did_not_see_is_named(results, rgb):
    with pytest.raises(ValueError, match=r"other\.jpg: 0 rows for other\.png"):
        open_source("automorph_results", results).segment([fundus(rgb, "other.jpg")])


def test_two_images_of_one_name_are_refused(results, rgb):
    with (results / "M0" / "crop_info.csv").open("a") as file:
        file.write("eye.png,41,55,36,0.1,78.9\n")
    with pytest.raises(ValueError, match=r"eye\.jpg: 2 rows for eye\.png"):
        open_source("automorph_results", results).segment([fundus(rgb)])


def test_a_image_that_m1_left_out_is_named(results, rgb):
    raw(results).unlink()
    with pytest.raises(ValueError, match=r"eye\.jpg: no .*eye\.png: AutoMorph leaves out .* poor quality"):
        open_source("automorph_results", results).segment([fundus(rgb)])


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_an_unreadable_map_is_named(results, rgb, content):
    raw(results).write_bytes(content)
    with pytest.raises(ValueError, match=r"eye\.png: cannot be read as a picture"):
        open_source("automorph_results", results).segment([fundus(rgb)])


def test_a_truncated_map_is_named(results, rgb):
    raw(results).write_bytes(raw(results).read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"eye\.png: cannot be read as a picture"):
        open_source("automorph_results", results).segment([fundus(rgb)])


def test_a_colour_that_automorph_does_not_use_is_refused(results, rgb):
    colours = np.array(Image.open(raw(results)))
    colours[20, 20] = (255, 255, 0)
    Image.fromarray(colours).save(raw(results))
    with pytest.raises(ValueError, match=r"eye\.png: 1 pixels have colours .* such as \(255, 255, 0\)"):
        open_source("automorph_results", results).segment([fundus(rgb)])


def test_a_map_of_another_size_is_refused(results, rgb):
    Image.open(raw(results)).resize((80, 80)).save(raw(results))
    with pytest.raises(ValueError, match=r"eye\.png: 80x80 pixels, .* crop of eye\.jpg has 72x72"):
        open_source("automorph_results", results).segment([fundus(rgb)])


def test_a_circle_outside_the_image_is_refused(results, rgb):
    with pytest.raises(ValueError, match=r"eye\.jpg: a circle .* row 40, .* 110x30 pixels: crop_info\.csv belongs to"):
        open_source("automorph_results", results).segment([fundus(rgb[:30])])


@pytest.mark.parametrize("line", ["eye.png,40.5,55,36,0.1,1", "eye.png,40,55", "eye.png,,55,36,1,1"])
def test_a_damaged_crop_info_names_the_line(results, line):
    (results / "M0" / "crop_info.csv").write_text(f"{HEADER}a.png,4,5,3,1,1\n{line}\n")
    with pytest.raises(ValueError, match=r"crop_info\.csv: line 3 has no Name with whole numbers"):
        open_source("automorph_results", results)


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(f"{HEADER}eye.png,40.0,55.0,36.0,0.1,78.9\n".encode(), id="floats"),
        pytest.param(f"{HEADER}C:\\runs\\images\\eye.png,40,55,36,0.1,78.9\n".encode(), id="a path of Windows"),
        pytest.param(f"{HEADER}../images/eye.png,40,55,36,0.1,78.9\n".encode(), id="a path"),
        pytest.param(f"{HEADER}augé.png,1,2,3,1,1\neye.png,40,55,36,0.1,78.9\n".encode("cp1252"), id="Latin letters"),
        pytest.param(f"{HEADER}eye.png,40,55,36,0.1,78.9\n".encode("utf-16"), id="UTF-16"),
        pytest.param(f"{HEADER}eye.png,40,55,36,0.1,78.9\n".replace(",", ";").encode("utf-8-sig"), id="semicolons"),
        pytest.param(f"{HEADER}eye.png,40,55,36,0.1,78.9\n".replace("\n", "\r").encode(), id="line ends of a Mac"),
    ],
)
def test_a_crop_info_that_a_spreadsheet_has_saved_is_read(results, rgb, table):
    (results / "M0" / "crop_info.csv").write_bytes(table)
    (masks,) = open_source("automorph_results", results).segment([fundus(rgb)])
    assert masks.artery[10, 50]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"Name\x00,\x81\x8d\n\x00", b'Name,"', b"\0" * 40, b"Name\n" + b"x" * 200_000]
)
def test_a_crop_info_of_no_table_gives_one_line(results, content):
    (results / "M0" / "crop_info.csv").write_bytes(content)
    try:
        source = open_source("automorph_results", results)
    except ValueError as error:
        assert "crop_info.csv" in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert not source.circles


@pytest.mark.parametrize("radius", ["inf", "nan", "1e300", str(10**9), "-3"])
def test_a_circle_of_no_size_is_refused(results, rgb, radius):
    (results / "M0" / "crop_info.csv").write_text(f"{HEADER}eye.png,40,55,{radius},0.1,78.9\n")
    with pytest.raises(ValueError, match=r"crop_info\.csv"):
        open_source("automorph_results", results).segment([fundus(rgb)])


@pytest.mark.parametrize(
    ("one", "other"), [("OD/eye.jpg", "OS/eye.jpg"), ("eye.a.jpg", "eye.b.jpg"), ("eye.jpg", "x/eye.left.png")]
)
def test_two_images_that_share_a_map_are_refused_before_the_run(results, one, other):
    """rmaphoh/AutoMorph#14: maps are named by the file's name up to the first dot; both eyes got one map."""
    source = open_source("automorph_results", results)
    with pytest.raises(ValueError, match=rf"^{one} and {other} share AutoMorph's map eye\.png, .*: rename one of them"):
        source.check(["other.jpg", one, other], [])


def test_a_image_that_is_not_segmented_may_have_given_the_map(results):
    source = open_source("automorph_results", results)
    source.check(["test/eye.jpg"], ["train/eye.jpg"])  # the crop is there, and will show whose map it is
    (results / "M0" / "images" / "eye.png").unlink()
    with pytest.raises(ValueError, match=r"test/eye\.jpg and train/eye\.jpg share"):
        source.check(["test/eye.jpg"], ["train/eye.jpg"])
    source.check(["test/eye.jpg"], ["train/a.jpg", "val/a.jpg"])


def test_names_that_differ_by_case_are_one_where_files_are(results):
    open_source("automorph_results", results).check(["eye.jpg", "Eye.jpg"], [])
    (results / "m0").mkdir(exist_ok=True)  # as a file system without upper and lower case answers
    (results / "m0" / "CROP_INFO.csv").touch()
    with pytest.raises(ValueError, match=r"eye\.jpg and Eye\.jpg share"):
        open_source("automorph_results", results).check(["eye.jpg", "Eye.jpg"], [])


def test_results_of_another_cohort_are_refused_before_the_run(results):
    source = open_source("automorph_results", results)
    with pytest.raises(
        ValueError, match=r"none of the 2 test images is in .* first, a\.jpg, would be a\.png\): name the"
    ):
        source.check(["a.jpg", "b.jpg"], ["eye.jpg"])
    source.check(["a.jpg", "eye.jpg"], [])
    source.check([], [])


def test_another_table_under_that_name_is_refused(results):
    (results / "M0" / "crop_info.csv").write_text("Name,radius\neye.png,36\n")
    with pytest.raises(ValueError, match=r"crop_info\.csv: line 2"):
        open_source("automorph_results", results)


def test_another_folder_is_refused(results):
    with pytest.raises(ValueError, match=r"M0.crop_info\.csv: does not exist: name the Results folder"):
        open_source("automorph_results", results / "M2")


def test_a_folder_is_needed():
    with pytest.raises(ValueError, match="'automorph_results' needs weights: name the Results folder"):
        open_source("automorph_results")


def test_provenance_tells_one_run_from_another(results):
    provenance = open_source("automorph_results", results).provenance
    assert provenance["name"] == "automorph_results"
    assert len(provenance["crop_info_sha256"]) == 64
