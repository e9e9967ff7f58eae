"""The page of a run: its parts, in a real browser too."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt import methods
from rayopt.cli import main
from rayopt.problems import Free, LogisticRegression
from rayopt.report.page import page_of, write_page

SCRIPT = "<script>alert(1)</script>"
IDS = {"answer", "summary", "metric", "timeline", "delays", "workers", "grid", "configuration"}


def run(folder, **others):
    chosen = [methods.Rennala([0.5, 1.0], batch_size=6), methods.Ringmaster([0.05, 0.1], 4),
              methods.Minibatch([0.5, 1.0])]  # fmt: skip
    return ro.run(
        chosen, LogisticRegression.digits(), ro.Workers(50, "sqrt(i)"), seed=[0, 1], out=folder,
        until=ro.Until(time=40, target=ro.Target("accuracy", 0.6)),
        labels=["Rennala", SCRIPT, "Mini & batch"], **others,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run(tmp_path_factory.mktemp("page") / "run")


def ids(page: str) -> set[str]:
    return set(re.findall(r'<section id="(\w+)">', page))


def test_every_part_is_there_and_texts_stay_texts(result):
    path = write_page(result)
    page = path.read_text(encoding="utf-8")
    assert path == result.folder.path / "report.html"
    assert ids(page) == IDS
    assert path.stat().st_size < 6_000_000
    own = page[: page.index("<script>")] + page[page.rindex("<script>") + 8 :]
    assert SCRIPT not in own
    assert "&lt;script&gt;alert(1)" in own
    assert not re.search(r'(src|href)="https?:', own)


def test_a_part_with_nothing_to_show_is_missing():
    bare = ro.run(methods.ASGD(0.1), Free(2), ro.Workers(2, 1.0), until=ro.Until(updates=5),
                  record=ro.Record(trace=False))  # fmt: skip
    assert ids(page_of([bare])) >= {"answer", "summary", "configuration"}
    assert not ids(page_of([bare])) & {"timeline", "delays", "workers", "grid", "theory"}
    bound = ro.run(methods.Rennala(0.3, 4), ro.problems.Quadratic(10), ro.Workers(4, 1.0),
                   until=ro.Until(time=500, target=ro.Target("grad_norm_sq", 0.05)))  # fmt: skip
    page = page_of([bound])
    assert "theory" in ids(page)
    predicted = bound.summary["lower_bound"]["predicted"]["Rennala"]
    assert f"<td>{predicted:.4g}</td>" in page


def test_two_runs_on_one_page_and_the_command(result, tmp_path):
    other = run(tmp_path / "other", record=ro.Record(trace=False))
    page = page_of([result, other])
    assert "run: Rennala" in page
    assert "other: Rennala" in page
    arguments = ["report", str(result.folder.path), str(tmp_path / "other"), "--out", str(tmp_path / "both.html")]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 0, found.output
    assert (tmp_path / "both.html").read_text(encoding="utf-8") == page


def test_a_network_and_thousands_of_workers(tmp_path):
    network = ro.run(methods.Fragile(0.1, 6), ro.problems.Quadratic(5), ro.Network("ring:8", 1.0, edges=0.2),
                     until=ro.Until(updates=5), out=tmp_path / "network")  # fmt: skip
    assert "timeline" in ids(page_of([network]))
    many = ro.run(methods.Rennala(0.1, 500), Free(2), ro.Workers(5_000, "sqrt(i)"), until=ro.Until(updates=20),
                  out=tmp_path / "many")  # fmt: skip
    data = json.loads(re.search(r"const DATA = (.*);\n", page_of([many]))[1])
    (own,) = data["workers"]["methods"]
    assert len(own["names"]) == 100
    assert sum(own["spent"].values()) == pytest.approx(1)
    (drawn,) = data["timeline"]["methods"]
    assert len(drawn["workers"]) == 40
    assert sum(len(line["x"]) for line in drawn["lines"].values()) <= 3 * 20_000


def test_the_chrome_trace(result, tmp_path):
    found = CliRunner().invoke(main, ["report", str(result.folder.path), "--timeline", str(tmp_path / "trace.json")])
    assert found.exit_code == 0, found.output
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    tasks = [event for event in events if event["ph"] == "X"]
    assert len(tasks) == len(result.trace)
    assert {event["ph"] for event in events} == {"M", "X"}
    first = result.trace.iloc[0]
    assert tasks[0]["ts"] == first.assigned_at * 1e6
    assert tasks[0]["dur"] == pytest.approx((first.time - first.assigned_at) * 1e6)


def test_tables_and_the_best(result):
    best = result.best()
    assert sorted(best.label) == sorted(["Rennala", SCRIPT, "Mini & batch"])
    assert best.time_to_target.dropna().is_monotonic_increasing
    latex = result.to_latex()
    assert latex.startswith("\\begin{tabular}{l")
    assert r"Mini \& batch" in latex
    assert latex.count(r"\\") == 4
    shown = result._repr_html_()
    assert SCRIPT not in shown
    assert "data:image/png;base64," in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--metric", "gap"], "--metric: 'gap'"),
        (["--x", "moon"], "--x: 'moon'"),
        (["--methods", "Rennala,X"], "--methods: 'X'"),
        (["--style", "poster"], "--style"),
        (["--log", "z"], "--log"),
        (["--width", "0"], "--width"),
        (["--format", "gif"], "--format"),
        (["--out", "nowhere/a.png"], "no folder"),
    ],
)
def test_bad_input_of_plot(result, arguments, text):
    found = CliRunner().invoke(main, ["plot", str(result.folder.path), *arguments])
    assert found.exit_code == 2
    assert text in found.output
    assert len(found.output.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_plot(result, tmp_path, kind):
    path = tmp_path / f"figure.{kind}"
    options = ["--metric", "value", "--x", "updates", "--log", "xy", "--methods", "Rennala", "--style", "paper"]
    found = CliRunner().invoke(main, ["plot", str(result.folder.path), *options, "--out", str(path)])
    assert found.exit_code == 0, found.output
    assert path.read_bytes()[:5] in (b"%PDF-", b"<?xml", b"\x89PNG\r")


# ---- in a real browser ----


@pytest.fixture(scope="module")
def browser():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and its driver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


def test_in_a_browser(browser, result):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"file://{Path(write_page(result)).resolve()}")
    plots = browser.find_elements("css selector", ".plot")
    assert [len(plot.find_elements("css selector", "svg.main-svg")) > 0 for plot in plots] == [True] * 6

    def names():
        return [cell.text for cell in browser.find_elements("css selector", "#summary tbody td:first-child")]

    browser.find_element("css selector", "#summary th button").click()
    assert names() == sorted(names(), key=str.casefold) or names() == sorted(names())
    browser.find_element("css selector", "#summary th button").click()
    assert names()[0] > names()[-1]

    def title():
        return browser.find_element("css selector", "#metric-plot .xtitle").text

    assert title() == "fleet time (seconds)"
    browser.find_element("css selector", "#metric-choices button[data-value=updates]").click()
    assert title() == "updates"
    legend = browser.find_element("css selector", "#metric-plot .legend").text
    assert SCRIPT in legend
    # Nothing is wider than a phone's screen, and nothing was complained about.
    browser.set_window_size(500, 900)
    fits = "return document.documentElement.scrollWidth <= window.innerWidth"
    WebDriverWait(browser, 10).until(lambda browser: browser.execute_script(fits))
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
