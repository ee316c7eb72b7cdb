"""leaderboard.html and the page over several runs, as displayed by headless Chromium."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from benchmark.report import overview
from benchmark.report.page import render
from tests.benchmark.chromium import PATIENCE, RULES
from tests.benchmark.lab_results import results_of
from tests.benchmark.page_content import ATTACK, STRATEGIES, attacked, content_in, full_content_in

PHONE, TABLET, DESK = 390, 820, 1440
PAPER = 688  # A4 between its margins of 14 mm, in CSS pixels

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of four pages: plain, with two seeds, with markup in all external text, and over several runs."""
    folder = tmp_path_factory.mktemp("pages")
    content, seeds = content_in(folder), full_content_in(folder)
    written = {
        "plain": render(content),
        "seeds": render(seeds),
        "hostile": render(attacked(seeds)),
        "runs": many_runs(),
    }
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in written}


def many_runs() -> str:
    """Three labs, one with markup as its name, and a failed trial."""
    aucs = {f"{backbone}-tiny__{strategy}": 0.6 for backbone in ("openclip", "dinov2") for strategy in STRATEGIES}
    labs = {
        "carotid": results_of(**aucs | {"openclip-tiny__lora": 0.71, "dinov2-tiny__lora": None}),
        "carotid-stenosis-of-the-second-university-hospital": results_of(cohort="lab_b.csv", **aucs),
        ATTACK: results_of(cohort=ATTACK, **{f"{ATTACK}__lora": 0.8}),
    }
    cells = overview.cells_of_runs(labs)
    return overview.render(labs, cells, overview.over_runs(cells))


@pytest.fixture
def troubles() -> list[str]:
    """What no visit may cause: errors, warnings, dialogs, and requests other than for the file itself."""
    return []


@pytest.fixture
def visit(browser: Browser, pages: dict[str, str], troubles: list[str]) -> Iterator[Visit]:
    """Open a page with all its details; any trouble until the end of the test fails the test."""

    def note_request(url: str) -> None:
        if url not in pages.values() and not url.startswith("data:"):
            troubles.append(f"request: {url}")

    def opened(name: str = "plain", width: int = DESK, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: note_request(request.url))
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(pages[name])
        page.evaluate("for (const closed of document.querySelectorAll('details')) closed.open = true")
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert not troubles


def names(page: Page, selector: str) -> list[str]:
    """The visible trials in a part of the page, in their order."""
    return page.eval_on_selector_all(
        f"{selector} [data-cell]", "all => all.filter(one => one.checkVisibility()).map(one => one.dataset.cell)"
    )


def column(page: Page, place: int) -> list[float]:
    """The values of a column of the leaderboard from top to bottom, without failed trials."""
    return page.eval_on_selector_all(
        "#table-leaderboard tbody:not(.failed) tr", f"all => all.map(row => +row.cells[{place}].dataset.value)"
    )


@pytest.mark.parametrize("name", ["plain", "hostile", "runs"])
def test_it_opens_without_an_error_or_a_request(visit: Visit, name: str) -> None:
    page = visit(name)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_what_is_not_in_the_file_is_refused(visit: Visit, troubles: list[str]) -> None:
    page = visit()
    with page.expect_console_message():  # the browser reports to its console, and the console to the test
        page.evaluate("fetch('http://127.0.0.1:9/').catch(() => {})")
    assert troubles
    assert all("Content Security Policy" in trouble for trouble in troubles)
    troubles.clear()


def test_hostile_text_runs_nothing_whatever_is_pressed(visit: Visit) -> None:
    page = visit("hostile")
    page.evaluate("for (const button of document.querySelectorAll('button')) button.click()")
    page.get_by_label("Filter trials").fill(ATTACK)
    expect(page.get_by_role("status")).to_have_text("18 of 18 trials")
    assert page.locator("script").count() == 1  # the page's own


@pytest.mark.parametrize("name", ["seeds", "hostile", "runs"])
def test_the_document_never_scrolls_sideways(visit: Visit, name: str) -> None:
    page = visit(name)
    for width in (PHONE, TABLET, DESK):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        beyond = """all => all.map(table => table.closest(".scroll")).filter(
            box => getComputedStyle(box).overflowX !== "auto" || box.getBoundingClientRect().right > innerWidth)"""
        assert page.eval_on_selector_all("table", beyond) == []


@pytest.mark.parametrize("name", ["seeds", "runs"])
def test_no_number_is_broken(visit: Visit, name: str) -> None:
    """Each number lies on one line: a reader must not take 0.53 for 0.539."""
    page = visit(name)
    broken = """() => {
        const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT), found = [];
        while (walker.nextNode()) for (const {0: number, index} of walker.currentNode.data.matchAll(/\\d[\\d.]+\\d/g)) {
            const range = document.createRange();
            range.setStart(walker.currentNode, index);
            range.setEnd(walker.currentNode, index + number.length);
            const cell = walker.currentNode.parentElement.closest("td");
            if (cell && range.getClientRects().length > 1) found.push(number);
        }
        return found;
    }"""
    for width in (PHONE, TABLET, DESK):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(broken) == [], width


def test_on_a_phone_a_row_keeps_its_cell_in_sight(visit: Visit) -> None:
    page = visit("seeds", PHONE)
    table = page.locator("#table-calls")
    box = page.locator(".scroll:has(#table-calls)")
    box.scroll_into_view_if_needed()
    box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    assert box.evaluate("(box) => box.scrollLeft") > 50
    head = table.locator("tbody th").first
    assert head.bounding_box()["x"] == pytest.approx(box.bounding_box()["x"], abs=1)
    rest = head.evaluate("(head) => getComputedStyle(head, '::after').content")
    assert rest.startswith('"') and ", seed " in rest


def test_a_table_is_downloaded_from_the_file_alone(visit: Visit) -> None:
    page = visit()
    with page.expect_download() as started:
        page.get_by_role("link", name="comparisons.csv", exact=True).last.click()
    assert started.value.suggested_filename == "comparisons.csv"
    assert started.value.path().read_text(encoding="utf-8").startswith("measure,backbone_a,")


@pytest.mark.parametrize("width", [PHONE, TABLET, DESK])
def test_every_chart_is_drawn_and_fits(visit: Visit, width: int) -> None:
    page = visit(width=width)
    for section in ("glance", "correlation", "prediction"):
        boxes = page.eval_on_selector_all(
            f"section[aria-labelledby={section}] .chart svg", "all => all.map(svg => svg.getBoundingClientRect())"
        )
        assert boxes
        assert all(200 < box["width"] < width and box["height"] > 60 for box in boxes)


@pytest.mark.parametrize("width", [PHONE, TABLET])
def test_the_keyboard_reaches_every_box_that_scrolls(visit: Visit, width: int) -> None:
    page = visit("seeds", width)
    page.evaluate("""
        boxes = [...document.querySelectorAll("*")].filter(
            (box) => box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX === "auto");
        reached = new Set();
        document.addEventListener("focusin", (event) => reached.add(event.target));
    """)
    assert page.evaluate("boxes.length")
    for _ in range(page.locator("a, button, input, summary, [tabindex]").count()):
        page.keyboard.press("Tab")
    assert page.evaluate("boxes.filter(box => !reached.has(box)).map(box => box.outerHTML.slice(0, 99))") == []


def test_a_click_on_a_head_sorts(visit: Visit) -> None:
    page = visit()
    table = page.locator("#table-leaderboard")
    rank, vessel = (table.locator("th[scope=col]", has_text=name) for name in ("Rank", "Vessel"))
    expect(rank).to_have_attribute("aria-sort", "ascending")
    auc = column(page, 3)
    assert auc == sorted(auc, reverse=True)
    failed = names(page, "#table-leaderboard .failed")

    vessel.get_by_role("button").click()
    expect(vessel).to_have_attribute("aria-sort", "descending")
    assert table.locator("[aria-sort]").count() == 1
    assert column(page, 5) == sorted(column(page, 5), reverse=True)
    assert column(page, 3) != auc
    vessel.get_by_role("button").click()
    expect(vessel).to_have_attribute("aria-sort", "ascending")
    assert column(page, 5) == sorted(column(page, 5))
    assert names(page, "#table-leaderboard")[-len(failed) :] == failed


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_keyboard_sorts(visit: Visit, width: int) -> None:
    page = visit(width=width)
    head = page.locator("#table-leaderboard th", has_text="Backbone")
    head.get_by_role("button").focus()
    for key, order in (("Enter", "ascending"), ("Space", "descending")):
        page.keyboard.press(key)
        expect(head).to_have_attribute("aria-sort", order)
        backbones = [name.split(",")[0] for name in names(page, "#table-leaderboard tbody:not(.failed)")]
        assert backbones == sorted(backbones, reverse=order == "descending")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_filter_keeps_cells_with_every_word_everywhere(visit: Visit, width: int) -> None:
    page = visit("seeds", width)
    tables = [f"#{table}" for table in page.eval_on_selector_all(".cells", "all => all.map(table => table.id)")]
    parts = [*tables, ".maps", "section[aria-labelledby=examples]"]
    before = {part: names(page, part) for part in parts}
    assert all(before.values())
    field, status = page.get_by_label("Filter trials"), page.get_by_role("status")
    expect(status).to_have_text("18 of 18 trials")

    for written, kept in {
        " LoRA  open": ["openclip-tiny, lora, seed 0", "openclip-tiny, lora, seed 7"],
        "7 dinov2": [f"dinov2-tiny, {strategy}, seed 7" for strategy in STRATEGIES],  # one of them failed
        "dinov3": [],
        "": before["#table-leaderboard"],
    }.items():
        field.fill(written)
        counted = f"{len(kept)} of 18 trials"
        expect(status).to_have_text(counted)
        expected = {part: [name for name in before[part] if name in kept] for part in parts}
        assert {part: names(page, part) for part in parts} == expected
        backbones = {tuple(name.split(", ")[::2]) for name in kept}
        assert page.locator(".maps:visible").count() == len(backbones)


def test_what_is_filtered_can_be_sorted(visit: Visit) -> None:
    page = visit()
    page.get_by_label("Filter trials").fill("openclip")
    page.locator("#table-leaderboard").get_by_role("button", name="Strategy").click()
    assert names(page, "#table-leaderboard") == [f"openclip-tiny, {name}, seed 0" for name in sorted(STRATEGIES)]


def test_the_filter_stays_in_sight_while_it_hides_cells(visit: Visit) -> None:
    page = visit(width=PHONE)
    field = page.get_by_label("Filter trials")
    page.locator("footer").scroll_into_view_if_needed()
    expect(field).not_to_be_in_viewport()
    field.fill("lora")
    page.locator("footer").scroll_into_view_if_needed()
    expect(field).to_be_in_viewport()


def test_without_scripts_all_cells_are_there_and_no_filter(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    expect(page.locator("#table-leaderboard tbody tr")).to_have_count(9)
    expect(page.locator(".filter")).to_be_hidden()


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [("plain", "light", DESK), ("plain", "dark", PHONE), ("runs", "light", PHONE), ("runs", "dark", DESK)],
)
def test_axe_finds_nothing(visit: Visit, name: str, scheme: str, width: int) -> None:
    page = visit(name, width, color_scheme=scheme)
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    assert not found.violations_count, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_drawings_has_contrast(visit: Visit, scheme: str) -> None:
    """axe does not decide this."""
    page = visit(color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    inks = set(page.eval_on_selector_all("svg text", "all => all.map(text => getComputedStyle(text).fill)"))
    assert inks
    assert min(contrast(ink, paper) for ink in inks) >= 4.5


def contrast(*colours: str) -> float:
    """The contrast of two colours ("rgb(0, 0, 0)") by WCAG 2.2, from 1 to 21."""
    channels = [[int(part) / 255 for part in re.findall(r"\d+", colour)] for colour in colours]
    linear = [[c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour] for colour in channels]
    darker, lighter = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("name", ["seeds", "hostile", "runs"])
def test_nothing_is_wider_than_the_paper(visit: Visit, name: str) -> None:
    page = visit(name, PAPER)
    page.emulate_media(media="print")
    beyond = f"""all => all.filter(one => one.getBoundingClientRect().right > {PAPER} + 1)
        .map(one => one.outerHTML.slice(0, 99))"""
    assert page.eval_on_selector_all("body *:not(svg *)", beyond) == []
    overflows = page.eval_on_selector_all(".chart svg", "all => all.map(svg => getComputedStyle(svg).overflow)")
    assert set(overflows) == {"hidden"}, "content beyond the edge of a chart is not printed"


def test_paper_shows_the_filter_only_where_it_hides_cells(visit: Visit) -> None:
    page = visit(width=PAPER)
    page.emulate_media(media="print")
    field = page.get_by_label("Filter trials")
    expect(field).to_be_hidden()
    field.evaluate("(field) => { field.value = 'lora'; field.dispatchEvent(new Event('input')); }")
    expect(field).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("3 of 9 trials")
