"""The page in a real Chromium: nothing fetched, nothing obeyed, and usable by hand, keyboard and phone."""

import csv
import html
import json
import os
import re
import shutil
import time

import pytest
from report.test_bagging import ERRORS, compare, differ
from report.test_panel import record, shares

from dropbench.report.folder import Choice, load_report
from dropbench.report.page.build import render
from dropbench.results.csv_file import append_rows, read_rows
from dropbench.results.rows import epoch_rows, run_row
from dropbench.results.schema import EPOCHS, RUNS, TABLES
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

EVIL = 'folder:<script>document.title="obeyed"</script>"&'
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER) and "DROPBENCH_NEEDS_BROWSER" not in os.environ,
    reason="there is no Chromium with its driver here",
)


def sweep_of(folder, errors, **fields):
    for p, by_seed in errors.items():
        for seed, error in enumerate(by_seed):
            config = RunConfig(p_drop=p, seed=seed, **fields)
            metrics = {
                f"{split}_{m}": error * unit
                for split in ("val", "test")
                for m, unit in (("error_percent", 1), ("nll", 0.01), ("brier", 0.01), ("ece", 0.01))
            }
            curve = tuple(EpochRecord(e, 2 / e, 50 / e, 1 / e, 40 / e, 1.0) for e in (1, 2, 3))
            result = RunResult(
                config, "ok", metrics=metrics, epochs=curve, where={"device_name": "<b>chip</b>"}
            )
            append_rows(folder, RUNS, [run_row(result, "abc")])
            append_rows(folder, EPOCHS, epoch_rows(result))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("page")
    sweep_of(made, {0.0: [4, 5, 4.5], 0.2: [3, 3.5, 3.2], 0.5: [2, 3, 2.5], 0.8: [9, 8, 30]}, data=EVIL)
    compare(made, ERRORS)
    differ(made, {"bagging": (-0.4, -0.7, -0.1)}, 2)
    for seed in range(2):
        record(made, 0.0, seed, 0.2, 30 + seed, shares(4, 20), epochs=9)
        record(made, 0.5, seed, 0.1, 29 + seed, shares(3, 5), epochs=9)
    return made


@pytest.fixture(scope="module")
def page(folder):
    path = folder / "page.html"
    path.write_text(render(load_report(folder)), encoding="utf-8")
    return path


def test_text_from_results_is_escaped_and_the_policy_lets_nothing_be_fetched(page):
    text = page.read_text()
    assert "<script>document" not in text
    assert "&lt;script&gt;document" in text
    assert "<b>chip" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(https?:)?//", text)


def test_every_picture_says_what_it_shows(page):
    text = page.read_text()
    charts = re.findall(r'class="chart"[^>]*aria-label="([^"]*)"', text)
    assert len(charts) == len(re.findall(r'class="chart"', text)) > 10
    assert all(len(alt) > 30 for alt in charts)
    assert any("2.5 at 0.5" in alt for alt in charts)


def test_it_has_the_command_and_what_made_the_runs(page):
    text = page.read_text()
    assert "dropbench sweep --p 0.2,0.5,0.8 --seeds 3" in text
    assert "dropbench compare-bagging --p 0.5" in text
    assert "&lt;b&gt;chip&lt;/b&gt;" in text


def test_axes_carry_both_probabilities(folder):
    report = load_report(folder, Choice(only=("sweep",)))
    figures = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', render(report))
    layout = json.loads(figures[0])["layout"]
    assert "p_drop" in layout["xaxis"]["title"]["text"]
    assert "p_keep" in layout["xaxis2"]["title"]["text"]
    assert list(zip(layout["xaxis2"]["tickvals"], layout["xaxis2"]["ticktext"], strict=True))[-1] == (
        0.8,
        "0.2",
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--window-size=1280,900", f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def shown(browser, page):
    browser.get(page.as_uri())
    wait_for(lambda: browser.execute_script(
        "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))"
    ))  # fmt: skip
    return browser


def wait_for(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


# Chromium, Selenium and their sockets are closed late.
of_browser = [
    in_browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def marked(test):
    for mark in of_browser:
        test = mark(test)
    return test


@marked
def test_no_error_no_request_and_no_obedience(shown):
    assert shown.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in shown.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    asked = {url for url in asked if not url.startswith("chrome")}  # the browser's own first page
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert len([url for url in asked if url.startswith("file")]) == 1
    assert shown.title != "obeyed"


HOSTILE = (
    "<img src=x onerror='document.title=\"obeyed\"'>",
    "</script><script>document.title='obeyed'</script>",
    "<a href=\"javascript:document.title='obeyed'\">x</a>{{ 7 * 7 }}",
)


@pytest.fixture(scope="module")
def hostile(folder, tmp_path_factory):
    """A copy of the folder that has hostile text in every cell of text that a reader takes it for."""
    made = shutil.copytree(folder, tmp_path_factory.mktemp("hostile") / "results")
    changed = set()
    for table in TABLES:
        path = made / table.file_name
        if not path.exists():
            continue
        whole = len(read_rows(made, table))
        for number, column in enumerate(sorted(table.text_columns)):
            before = path.read_text()
            lines = [dict(row) for row in csv.DictReader(before.splitlines())]
            for line in lines:
                line[column] = HOSTILE[number % len(HOSTILE)]
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, lines[0])
                writer.writeheader()
                writer.writerows(lines)
            if len(read_rows(made, table)) == whole:
                changed.add(column)
            else:
                path.write_text(before)
    assert {"data", "model", "device_name", "git_commit"} <= changed
    return made


@marked
def test_a_page_of_hostile_cells_obeys_none_of_them(hostile, browser):
    page = hostile / "page.html"
    page.write_text(render(load_report(hostile)), encoding="utf-8")
    assert "onerror=" in html.unescape(page.read_text())
    browser.get(page.as_uri())
    wait_for(lambda: browser.execute_script("return document.readyState") == "complete")
    assert browser.title != "obeyed"
    assert browser.find_elements("css selector", "img[src=x], a[href^=javascript]") == []


@marked
def test_hovering_over_a_point_tells_its_figures(shown):
    from selenium.webdriver import ActionChains

    point = shown.find_element("css selector", ".chart .scatterlayer .points path")
    shown.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(shown).move_to_element(point).perform()
    wait_for(lambda: shown.find_elements("css selector", ".chart .hoverlayer text"))


@marked
def test_tables_are_sorted_by_mouse_and_by_keyboard(shown):
    from selenium.webdriver.common.keys import Keys

    heads = shown.find_elements("css selector", "table:first-of-type thead tr:first-child th")
    table = shown.find_element("css selector", "table")
    place = next(number for number, head in enumerate(heads) if head.text.startswith("test error"))

    def column() -> list[float]:
        rows = table.find_elements("css selector", "tbody tr")
        return [float(row.find_elements("tag name", "td")[place].text.split(" ")[0]) for row in rows]

    button = heads[place].find_element("tag name", "button")
    shown.execute_script("arguments[0].click()", button)
    assert column() == sorted(column())
    assert heads[place].get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert column() == sorted(column(), reverse=True)
    assert heads[place].get_attribute("aria-sort") == "descending"


@marked
def test_the_theme_reaches_text_and_pictures(shown):
    toggle = shown.find_element("id", "theme")

    def colours() -> tuple[str, str]:
        return shown.execute_script(
            "return [getComputedStyle(document.body).color, "
            "document.querySelector('.chart .xtick text').style.fill]"
        )

    before = colours()
    toggle.click()
    wait_for(lambda: all(a != b for a, b in zip(before, colours(), strict=True)))
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    wait_for(lambda: colours() == before)


@marked
def test_a_phone_scrolls_in_one_direction(shown):
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        wait_for(lambda: shown.execute_script("return innerWidth") == 390)
        assert shown.execute_script("return document.documentElement.scrollWidth") <= 390
        widths = shown.execute_script(
            "return [...document.querySelectorAll('.chart')].map(c => c.getBoundingClientRect().width)"
        )
        assert max(widths) <= 390
    finally:
        shown.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
