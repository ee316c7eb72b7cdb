"""The scripts of the page in headless Chromium: address, folds, figures and highlights, by mouse and by keyboard."""

import dataclasses
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest
from axe_playwright_python.sync_playwright import Axe
from markupsafe import Markup
from playwright.sync_api import Browser, Page, expect

import benchmark.report.page
from benchmark.report.charts.drawing import Chart
from benchmark.report.page import render
from tests.benchmark.chromium import PATIENCE, RULES
from tests.benchmark.page_content import content_in
from tests.benchmark.report.test_page import CHARTS

PHONE, TABLET, DESK = 390, 820, 1440
LORA, PARTIAL = "openclip-tiny, lora, seed 0", "openclip-tiny, partial, seed 0"
NOTICE = "Vessel masks look wrong (see “How it was made”)."
# Two marks of trials, and one of a cell; drawn with the page's colours and font, as charts are.
DRAWING = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 80" role="img" aria-label="Two trials">'
    f'<circle data-cell="{LORA}" cx="40" cy="40" r="9" fill="var(--vessel)"/>'
    f'<circle data-cell="{PARTIAL}" cx="90" cy="40" r="9" fill="var(--vessel)"/>'
    '<circle data-cell="openclip-tiny, lora" cx="140" cy="40" r="9" fill="var(--vein)"/>'
    '<text x="200" y="40" font-family="var(--sans)" fill="var(--ink)">AUC &lt; 1</text></svg>'
)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    charts = {place: [] for place in CHARTS} | {"forest": [Chart(DRAWING, "AUC", "Two trials", 320)]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark.report.page, "_charts", lambda content: charts)
        page = render(dataclasses.replace(content_in(folder), notices=[NOTICE]))
    (folder / "page.html").write_text(page, encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture
def show(browser: Browser, address: str) -> Iterator[Open]:
    """Open the page as its reader finds it; an error in a script fails the test."""
    errors: list[str] = []

    def opened(query: str = "", width: int = DESK, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query)
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert not errors


def rows(page: Page) -> list[str]:
    """The visible trials of the leaderboard, in their order."""
    return page.eval_on_selector_all(
        "#table-leaderboard [data-cell]", "all => all.filter(one => one.checkVisibility()).map(one => one.dataset.cell)"
    )


def classes(page: Page, name: str) -> list[str]:
    """The trials and cells whose rows and chart marks have a class."""
    return page.eval_on_selector_all(
        f":is(tr, .chart *).{name}", "all => all.map(one => one.tagName + ' ' + one.dataset.cell)"
    )


def test_filter_and_order_are_in_the_address(show: Open) -> None:
    page = show()
    written = rows(page)
    page.get_by_label("Filter trials").press_sequentially("openclip")
    kept = rows(page)
    assert kept == [name for name in written if name.startswith("openclip")]
    for _ in range(2):
        page.locator("#table-leaderboard th:nth-child(4) button").click()
    assert page.evaluate("location.search") == "?filter=openclip&sort=leaderboard.4.ascending"
    assert rows(page) == kept[::-1]

    page.reload()
    expect(page.get_by_label("Filter trials")).to_have_value("openclip")
    assert rows(page) == kept[::-1]

    page.go_back()
    assert rows(page) == kept, "the first click on a head"
    page.go_back()
    page.go_back()
    expect(page.get_by_label("Filter trials")).to_have_value("")
    assert rows(page) == written, "all letters of a word are one step"
    head = page.locator("#table-leaderboard th", has_text="Rank")
    expect(head).to_have_attribute("aria-sort", "ascending")
    for _ in range(3):
        page.go_forward()
    assert rows(page) == kept[::-1]


def test_an_address_that_fits_no_table_is_ignored(show: Open) -> None:
    page = show("?filter=lora&sort=leaderboard.99.ascending&sort=nothing.1.ascending&sort=leaderboard.4.sideways&sort=")
    assert len(rows(page)) == 3
    expect(page.locator("#table-leaderboard th", has_text="Rank")).to_have_attribute("aria-sort", "ascending")


def test_the_keyboard_opens_a_section(show: Open) -> None:
    page = show()
    table = page.locator("#table-controls")
    expect(table).to_be_hidden()
    assert page.evaluate("document.body.scrollHeight") < 3500
    page.locator("details:has(> summary #controls) > summary").focus()
    page.keyboard.press("Enter")
    expect(table).to_be_visible()
    button = page.locator(".all-folds")
    button.focus()
    page.keyboard.press("Space")
    expect(button).to_have_text("Close all sections")
    assert page.locator(".fold:not([open])").count() == 0
    page.keyboard.press("Space")
    assert page.locator(".fold[open]").count() == 0


def test_a_link_to_a_folded_section_opens_it(show: Open) -> None:
    page = show()
    heading, content = page.locator("#facts"), page.locator(".facts")
    for _ in range(2):  # the second time, the address does not change
        expect(content).to_be_hidden()
        page.get_by_role("link", name="How it was made", exact=True).click()
        expect(content).to_be_visible()
        expect(heading).to_be_in_viewport()
        page.locator("details:has(> summary #facts) > summary").click()
    page = show("?filter=lora#left-out")
    expect(page.locator("#left-out")).to_be_in_viewport()
    expect(page.locator("details:has(> summary#left-out) table")).to_be_visible()


def test_a_heading_shows_its_link_to_the_mouse_and_the_keyboard(show: Open) -> None:
    page = show()
    link = page.get_by_role("link", name="Link to “Cohort”")
    expect(link).to_have_css("opacity", "0")
    page.locator("#cohort").hover()
    expect(link).to_have_css("opacity", "1")
    page.locator("h1").hover()
    expect(link).to_have_css("opacity", "0")
    page.locator(".all-folds").focus()
    while page.evaluate("document.activeElement.getAttribute('href')") != "#cohort":
        page.keyboard.press("Tab")
    expect(link).to_have_css("opacity", "1")
    page.keyboard.press("Enter")
    expect(page.locator("#excluded")).to_be_visible()
    assert page.evaluate("location.hash") == "#cohort"


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_figures_are_enlarged_by_keyboard_alone(show: Open, width: int) -> None:
    page = show(width=width)
    page.locator(".all-folds").click()
    dialog = page.get_by_role("dialog")
    for name, what in (("Enlarge AUC", "svg"), ("Enlarge Mean Grad-CAM of openclip-tiny, lora", "img")):
        button = page.get_by_role("button", name=name)
        small = page.locator("figure", has=button).locator(f"> {what}").bounding_box()
        button.focus()
        page.keyboard.press("Enter")
        expect(dialog).to_have_accessible_name(name.removeprefix("Enlarge "))
        large = dialog.locator(what).bounding_box()
        assert large["width"] > 1.2 * small["width"]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(button).to_be_focused()


def test_the_mouse_enlarges_and_closes(show: Open) -> None:
    page = show("#glance")
    dialog = page.get_by_role("dialog")
    page.locator(".charts svg").click()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    page.locator(".charts svg").click()
    page.mouse.click(5, 5)  # next to the dialog
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_chart_is_a_file_of_its_own_in_the_colours_of_the_light_page(show: Open, scheme: str) -> None:
    page = show("?filter=partial#glance", color_scheme=scheme)
    with page.expect_download() as started:
        page.get_by_role("button", name="Save SVG of AUC").click()
    assert started.value.suggested_filename == "AUC.svg"
    text = started.value.path().read_text(encoding="utf-8")
    assert "var(" not in text and "faint" not in text
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height")) == ("320", "80")
    first, *_, written = root
    assert first.get("fill") == "#6a3d80"
    assert written.get("font-family", "").endswith("sans-serif")


def test_filter_and_pointer_reach_charts(show: Open) -> None:
    page = show("#glance")
    page.get_by_label("Filter trials").fill("partial")
    assert classes(page, "faint") == [f"circle {LORA}", "circle openclip-tiny, lora"]
    page.get_by_label("Filter trials").fill("")
    assert classes(page, "faint") == []

    page.locator(f"#table-leaderboard tr[data-cell='{LORA}']").hover()
    lit = classes(page, "lit")
    assert {f"TR {LORA}", f"circle {LORA}", "circle openclip-tiny, lora"} <= set(lit)
    assert not [name for name in lit if PARTIAL in name]
    expect(page.locator(f"circle[data-cell='{PARTIAL}']")).to_have_css("opacity", "0.15")
    page.locator(f"circle[data-cell='{PARTIAL}']").hover()
    assert f"TR {PARTIAL}" in classes(page, "lit")
    page.locator("h1").hover()
    assert classes(page, "lit") == []


def test_a_table_that_scrolls_says_so(show: Open) -> None:
    page = show("#controls", width=PHONE)
    hint = "box => getComputedStyle(box, '::before').content"
    box = page.locator(".scroll:has(> #table-controls)")
    page.wait_for_function("() => document.querySelector('.scroll:has(> #table-controls)').matches('.scrolls')")
    assert "Scroll sideways" in box.evaluate(hint)
    assert "gradient" in box.evaluate("box => getComputedStyle(box).backgroundImage")
    page.set_viewport_size({"width": DESK, "height": 900})
    page.wait_for_function("() => !document.querySelector('.scroll:has(> #table-controls)').matches('.scrolls')")
    assert box.evaluate(hint) == "none"


def test_paper_shows_every_section(show: Open) -> None:
    page = show(width=TABLET)
    hidden = """() => [...document.querySelectorAll("details > :not(summary)")]
        .filter(part => !part.checkVisibility() || part.getBoundingClientRect().height === 0).length"""
    assert page.evaluate(hidden) > 10
    page.emulate_media(media="print")
    assert page.evaluate(hidden) == 0
    for gone in (".anchor", ".tools", ".all-folds"):
        expect(page.locator(gone).first).to_be_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # of browsers without ::details-content
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", TABLET), ("dark", DESK), ("light", PHONE)])
def test_axe_finds_nothing_on_the_folded_page_and_in_the_dialog(show: Open, scheme: str, width: int) -> None:
    page = show("?filter=openclip#glance", width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for enlarged in (False, True):
        if enlarged:
            page.get_by_role("button", name="Enlarge AUC").click()
        found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
        assert not found.violations_count, found.generate_report()
