"""The card as Markdown and as a page: the same items, counts that add up, and nothing from a name becomes markup."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from benchmark.report.flow_words import flow_lines
from benchmark.report.study_card.items import Table
from benchmark.report.study_card.page import GUIDELINES, STATUSES, fill, markdown, study_card_html, study_card_markdown
from tests.benchmark.chromium import PATIENCE, RULES
from tests.benchmark.report.study_card.runs import HOSTILE, PATH, RUNS, external_run, hostile_run, manifest_run


def entries_of(facts):
    return [each for filled in fill(facts) for section in filled.sections.values() for each in section]


@pytest.mark.parametrize("name", RUNS)
def test_counts_at_the_top_are_those_of_the_items(name):
    facts = RUNS[name]()
    card, html = study_card_markdown(facts), study_card_html(facts)
    for filled in fill(facts):
        assert sum(filled.counts.values()) == len(filled.guideline.items)
        counts = [len(filled.guideline.items), *filled.counts.values()]
        assert f"| {filled.guideline.name} | {' | '.join(map(str, counts))} |" in card
    statuses = re.findall(r"^\*\*\w+ .*\*\* \((.*)\)$", card, re.MULTILINE)
    assert statuses == [STATUSES[each.status] for each in entries_of(facts)]
    assert html.count('<div class="item">') == len(statuses) == 52 + 44
    for status in STATUSES:
        assert html.count(f'<span class="status {status}">') == sum(each.status == status for each in entries_of(facts))


@pytest.mark.parametrize("name", RUNS)
def test_markdown_has_every_passage(name):
    facts = RUNS[name]()
    text = study_card_markdown(facts)
    for each in entries_of(facts):
        for block in each.passage:
            if isinstance(block, Table):
                for row in (block.heading, *block.rows):
                    assert f"| {' | '.join(map(markdown, row))} |" in text
                    assert len(row) == len(block.heading)
            else:
                assert f"\n{markdown(block)}\n" in text
        if each.ask:
            assert f"*Authors:* {markdown(each.ask)}" in text


@pytest.mark.parametrize("name", RUNS)
def test_no_path_of_the_machine_is_on_the_card(name):
    facts = RUNS[name]()
    assert PATH not in study_card_markdown(facts) + study_card_html(facts)


def test_names_are_not_markup():
    facts = hostile_run()
    text, html = study_card_markdown(facts), study_card_html(facts)
    assert "<b>" not in html
    assert not re.search(r"(?<!\\)<b", text)
    assert markdown(HOSTILE) == r"\<b\>\*a\_ \| \`b\` \# \[c\](d)"
    assert text.count(markdown(HOSTILE)) > 5
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith(" |"), "a name does not end a row"


def test_markdown_keeps_plain_text():
    assert markdown("classifier_only, 50 % (0.8 to 0.9)") == "classifier_only, 50 % (0.8 to 0.9)"
    assert markdown("a &lt; b & c") == "a &amp;lt; b & c"
    assert markdown("two\n  lines") == "two lines"


def test_the_flow_is_a_list_in_markdown():
    facts = manifest_run()
    titles = re.findall(r"^ *- \*\*(.*?)\*\*: ", study_card_markdown(facts), re.MULTILINE)
    assert titles == [line.title for line in flow_lines(facts.results.flow)]
    assert "earlier version" in study_card_markdown(RUNS["without results"]())


def test_an_external_validation_names_both_cohorts():
    for card in (study_card_markdown(external_run()), re.sub(r"<[^>]*>", "", study_card_html(external_run()))):
        plain = card.replace("*", "")
        assert "Development cohort: that of the study carotid (cohort.csv)." in plain
        assert "Validation cohort: other.csv." in plain
    assert "Development cohort:" not in study_card_markdown(manifest_run())


def test_guidelines_are_cited():
    card = study_card_markdown(manifest_run())
    assert all(markdown(guideline.citation) in card for guideline in GUIDELINES)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (820, "dark"), (1440, "light")])
def test_in_a_browser(browser, tmp_path, width, scheme):
    """axe finds nothing, nothing is loaded, and no width needs to scroll sideways."""
    file = tmp_path / "study_card.html"
    file.write_text(study_card_html(manifest_run()), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page, troubles = context.new_page(), []
    page.on("console", lambda said: troubles.append(said.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda sent: troubles.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None)
    page.goto(file.as_uri() + "#tripod-12c")
    assert page.locator("#tripod-12c").is_visible(), "a link to an item opens its guideline"
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    found = Axe().run(page, options={"runOnly": RULES})
    context.close()
    assert found.violations_count == 0, found.generate_report()
    assert not troubles
