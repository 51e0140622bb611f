"""The report page in a headless Chromium: no error, pictures loaded, tables sort, nothing wider than the window."""

from __future__ import annotations

import shutil
import time

import pytest

from maskrcnn_benchmark_hml.report.page.page import write_page
from maskrcnn_benchmark_hml.report.runs import load_runs

from .pages import add_adjusted, add_curves, add_settings, many, rows
from .pages import parsed as parse

webdriver = pytest.importorskip("selenium.webdriver", reason="driving a browser needs selenium: pip install selenium")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver here: apt-get install chromium chromium-driver"
)
SIZES = {1280: 900, 390: 844}
#: Seconds in which the page is to open on an idle machine; a machine that runs many tests at once is slower.
OPENS_IN, PATIENCE = 2.0, 10.0


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def folders(run):
    base, hml = run("baseline", shift=0.125), run("hml", with_tree=True)
    add_settings(base, HML={"ENABLED": False}, SOLVER={"MAX_ITER": 40})
    add_settings(hml, HML={"ENABLED": True, "CONTROL": ""}, SOLVER={"MAX_ITER": 60})
    add_curves(base, (40,))
    add_curves(hml, (20, 40), ("loss_rel", "loss_cr"))
    add_adjusted(base, (0.5, 1.0))
    return [base, hml]


def opened(browser, path, width: int) -> float:
    """Open the page in a window of this width; seconds until it was loaded."""
    size = {"width": width, "height": SIZES[width], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    start = time.monotonic()
    browser.get(path.as_uri())
    return time.monotonic() - start


@pytest.mark.parametrize("count", [2, 27])
@pytest.mark.parametrize("width", SIZES)
def test_the_page_opens_without_an_error_and_fits(browser, folders, tmp_path, width, count):
    paths = folders if count == 2 else many(folders[1], 27)
    page = tmp_path / "page.html"
    write_page(page, load_runs([str(path) for path in paths]))
    assert opened(browser, page, width) < PATIENCE
    assert browser.get_log("browser") == []
    spent = browser.execute_script("return performance.getEntriesByType('navigation')[0].duration") / 1000
    assert spent < PATIENCE
    inside, whole = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert whole <= inside == width
    pictures = browser.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth])")
    assert pictures and all(complete and wide > 0 for complete, wide in pictures)
    # The text of the charts can be read: its height in pixels of the screen.
    heights = browser.execute_script(
        "return [...document.querySelectorAll('figure text')].map(t => t.getBoundingClientRect().height)"
    )
    assert heights and min(heights) >= 9
    outside = browser.execute_script("""
        return [...document.querySelectorAll('main *')].filter(e => !e.closest('.box') && !e.closest('svg')
          && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))""")
    assert outside == []


def test_tables_sort_by_mouse_and_keyboard(browser, folders, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = tmp_path / "page.html"
    write_page(page, load_runs([str(path) for path in folders]))
    opened(browser, page, 1280)
    table = browser.find_element(By.ID, "predicates")

    def column(at: int) -> list[str]:
        return [row.find_elements(By.XPATH, "./*")[at].text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]

    def states() -> list[str | None]:
        return [head.get_attribute("aria-sort") for head in table.find_elements(By.CSS_SELECTOR, "thead th")]

    written = [line[0] for line in rows(parse(page.read_text("utf-8")), "predicates")[1:]]
    assert column(0) == written and set(states()) == {None}
    buttons = table.find_elements(By.CSS_SELECTOR, "thead button")
    buttons[4].click()
    numbers = [float(cell) for cell in column(4) if cell != "-"]
    assert numbers == sorted(numbers, reverse=True) and states()[4] == "descending"
    buttons[4].send_keys(Keys.ENTER)
    numbers = [float(cell) for cell in column(4) if cell != "-"]
    assert numbers == sorted(numbers) and states()[4] == "ascending"
    assert all(cell == "-" for cell in column(4)[len(numbers) :])  # what is missing stands last
    said = browser.find_element(By.ID, "said").get_attribute("textContent")
    assert said == "R@50 of every predicate, in percent: sorted by hml, ascending"
    buttons[0].send_keys(Keys.SPACE)
    assert column(0) == sorted(written) and states() == ["ascending", *[None] * 5]
    assert browser.get_log("browser") == []


def test_without_script_everything_is_there(browser, folders, tmp_path):
    page = tmp_path / "page.html"
    write_page(page, load_runs([str(path) for path in folders]))
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, page, 390)
        document = browser.execute_cdp_cmd("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
        query = {"nodeId": document, "selector": "table"}
        tables = browser.execute_cdp_cmd("DOM.querySelectorAll", query)["nodeIds"]
        buttons = browser.execute_cdp_cmd("DOM.querySelectorAll", {**query, "selector": "button"})["nodeIds"]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert len(tables) == page.read_text("utf-8").count("<table ") and not buttons


#: Pairs of the style sheet's colours, and the contrast that WCAG asks for: 4.5 for text, 3 for lines.
PAIRS = {("--ink", "--paper"): 4.5, ("--faint", "--paper"): 4.5, ("--faint", "--head"): 4.5, ("--link", "--paper"): 4.5,
         ("--ink", "--bar"): 4.5, ("--ink", "--note"): 4.5, ("--ink", "--head"): 4.5,
         **{(f"--s{n}", "--paper"): 3.0 for n in range(8)}}  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_enough_contrast(browser, folders, tmp_path, scheme):
    page = tmp_path / "page.html"
    write_page(page, load_runs([str(path) for path in folders]))
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    opened(browser, page, 1280)
    names = sorted({name for pair in PAIRS for name in pair})
    found = browser.execute_script("""
        const probe = document.body.appendChild(document.createElement("i"));
        return arguments[0].map(name => {
          probe.style.color = `var(${name})`;
          return getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number);
        });""", names)  # fmt: skip
    light = {name: luminance(rgb) for name, rgb in zip(names, found)}
    for (one, two), least in PAIRS.items():
        high, low = sorted((light[one], light[two]), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, (one, two, scheme)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(rgb: list[float]) -> float:
    """Relative luminance of WCAG."""
    parts = [v / 255 for v in rgb]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
