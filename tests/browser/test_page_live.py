"""The page of a running node, as its owner uses it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.browser.browser_rig import Browser, browsing
from tests.process_rig import RunningNode, deal_homes, ending, openfl_node, until

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><b>bold</b> \u202egnorw"
LAST = "Yours </script><script>document.title='taken'</script>"


@dataclass
class Scene:
    """Two nodes that learn together, and a browser with the page of the first."""

    browser: Browser
    node: RunningNode
    other: RunningNode
    link: str


def rename_songs(home: Path) -> None:
    """Every song of the node's catalogue gets a name that is code to whoever takes it for any."""
    path = home / "songs.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "title": HOSTILE, "artist": LAST})


def link_of(home: Path) -> str:
    """What `openfl-node web` prints."""
    return openfl_node("web", "--no-open", "--home", str(home)).strip()


def phase_in_report(home: Path, folder: Path) -> str:
    """What `openfl-node report` writes of the node; it must have rounds and recommend songs."""
    path = folder / "report.html"
    openfl_node("report", "--home", str(home), "--html", str(path))
    inlined = path.read_text("utf-8").partition('id="document">')[2].partition("</script>")[0]
    document = json.loads(inlined)
    assert document["course"]["points"]
    assert [move["action"] for move in document["course"]["moves"]] == ["joined"]
    assert len(document["recommendations"]["items"]) == 10
    assert document["recommendations"]["items"][0]["why"]
    phase: str = document["snapshot"]["phase"]
    return phase


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    homes = deal_homes(tmp_path_factory.mktemp("homes"), "ab")
    rename_songs(homes[0])
    node = RunningNode(homes[0], "--web", interval="0.5")
    with ending([node]):
        other = RunningNode(homes[1], "--bootstrap", node.address, interval="0.5")
        with ending([other]), browsing(tmp_path_factory.mktemp("profile")) as browser:
            node.wait_for("useful")
            link = link_of(homes[0])
            browser.open(link)
            browser.until(lambda: browser.text("#stand") == "Live", "the page is live")
            learned = "return document.querySelectorAll('#learning .stage')[0].ariaValueMax > 2"
            browser.until(lambda: browser.run(learned), "a learning curve of some rounds")
            yield Scene(browser, node, other, link)


def test_the_token_is_taken_out_of_the_address_and_a_reload_keeps_it(scene: Scene) -> None:
    browser = scene.browser
    assert "#token=" in scene.link
    assert "token" not in browser.run("return location.href")
    browser.driver.refresh()
    browser.until(lambda: browser.text("#stand") == "Live", "live after a reload")


def test_it_says_in_words_how_the_node_does(scene: Scene) -> None:
    browser = scene.browser
    browser.until(lambda: "alone" in browser.text("#now .big"), "a comparison with alone")
    assert " % better than alone" in browser.text("#now .big").replace("\n", " ")
    assert "RMSE" in browser.text("#now .lead")
    peer = scene.other.ask("id")["peer_id"]
    members = browser.text("#members")
    assert f"{peer[:4]}…{peer[-6:]}" in members
    assert "There is one other member; it is connected" in members
    assert "Began in" in browser.text("#groups .reasons")


def test_it_changes_by_itself(scene: Scene) -> None:
    browser = scene.browser
    figure = "return [...document.querySelectorAll('#now .figure')].map((f) => f.innerText)[1]"
    before = browser.run(figure)
    browser.until(lambda: browser.run(figure) != before, "another round is shown")
    more = "return document.querySelectorAll('#learning .stage')[0].ariaValueMax"
    points = int(browser.run(more))
    browser.until(lambda: int(browser.run(more)) > points, "another point of the curve")


def test_all_of_it_can_be_clicked_through(scene: Scene) -> None:
    browser = scene.browser
    browser.resize("wide")
    for link in browser.find_all("#links a"):
        target = link.get_attribute("href").partition("#")[2]
        link.click()
        where = f"return document.getElementById({json.dumps(target)}).getBoundingClientRect().top"
        browser.until(
            lambda where=where: 0 <= browser.run(where) < browser.run("return innerHeight"),
            f"{target} is in view",
        )
    peer = scene.other.ask("id")["peer_id"]
    browser.click(browser.find("#members tbody button"))
    browser.until(lambda: peer in browser.text("#members .chosen"), "the whole peer id")
    assert "its contributions are in your model" in browser.text("#members .chosen").lower()
    for details in browser.find_all("#learning details, #groups details, #traffic details"):
        browser.click(details.find_element("css selector", "summary"))
        filled = partial(details.find_elements, "css selector", "td")
        browser.until(filled, "a table behind")
    field = browser.find("#filter")
    field.send_keys("zzz")
    browser.until(lambda: not browser.find_all("#events li"), "nothing fits")
    field.clear()
    field.send_keys("round")
    browser.until(lambda: browser.find_all("#events li"), "some events fit")
    assert all("round" in event.text.lower() for event in browser.find_all("#events li")[:5])


def test_songs_are_recommended_and_their_names_are_text(scene: Scene) -> None:
    browser = scene.browser
    with (scene.node.home / "ratings.csv").open(newline="", encoding="utf-8") as file:
        user = next(csv.DictReader(file))["user_id"]
    field = browser.find("#user")
    field.clear()
    field.send_keys(user)
    browser.click(browser.find("#recommendations button"))
    browser.until(lambda: user in browser.text("#recommendations .lead"), "songs for the user")
    songs = browser.find_all("#recommendations .songs li")
    assert len(songs) == 10
    title = browser.run("return arguments[0].querySelector('.song').textContent", songs[0])
    assert title == HOSTILE.replace("\u202e", "\ufffd")
    artist = browser.run("return arguments[0].querySelector('.artist').textContent", songs[0])
    assert artist == LAST
    assert "taken" not in browser.driver.title
    assert browser.run("return document.querySelectorAll('img, b').length") == 0


def test_it_can_be_used_by_keys_alone(scene: Scene) -> None:
    from selenium.webdriver import Keys

    browser = scene.browser
    browser.resize("wide")
    browser.driver.refresh()
    browser.until(lambda: browser.text("#stand") == "Live", "live after a reload")
    reached: list[str] = []
    for _ in range(200):
        browser.press(Keys.TAB)
        told = browser.run(
            "const on = document.activeElement;"
            "if (on === document.body) return null;"
            "const style = getComputedStyle(on);"
            "return [on.id || on.className || on.tagName, on.getAttribute('role'),"
            " style.outlineStyle, parseFloat(style.outlineWidth)];"
        )
        if told is None:
            break
        name, role, style, width = told
        assert (style, width >= 2) == ("solid", True), f"the focus on {name} is not seen"
        if not reached:
            assert "skip" in name
        if role == "slider" and "slider" not in reached:
            value = "return document.activeElement.getAttribute('aria-valuetext')"
            last = browser.run(value)
            browser.press(Keys.HOME)
            assert browser.run(value) != last
            assert browser.run(value).startswith("Round")
        reached += [name, role or ""]
    for wanted in ("theme", "slider", "user", "filter", "level", "region"):
        assert wanted in reached, f"{wanted} cannot be reached by Tab"


def test_the_colours_can_be_chosen_and_the_choice_is_kept(scene: Scene) -> None:
    from selenium.webdriver.support.ui import Select

    browser = scene.browser
    browser.colours("light")
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    Select(browser.find("#theme")).select_by_value("dark")
    dark = browser.run(paper)
    assert dark != light
    browser.driver.refresh()
    browser.until(lambda: browser.run(paper) == dark, "still dark after a reload")
    Select(browser.find("#theme")).select_by_value("")
    assert browser.run(paper) == light
    browser.until(lambda: browser.text("#stand") == "Live", "live")


def test_narrow_and_wide_light_and_dark_it_is_accessible(scene: Scene) -> None:
    scene.browser.until(lambda: scene.browser.text("#stand") == "Live", "live")
    scene.browser.look("node")


def test_it_complains_of_nothing_and_asks_nobody_else(scene: Scene) -> None:
    address = scene.link.partition("#")[0]
    assert scene.browser.asked_elsewhere(address) == []
    assert scene.browser.complaints == []
    assert any(url.endswith("/api/stream") for url in scene.browser.asked)


def test_a_link_that_is_not_good_shows_nothing_and_says_what_to_do(scene: Scene) -> None:
    browser = scene.browser
    browser.driver.get(scene.link.partition("#")[0] + "?other#token=" + "x" * 43)
    browser.until(lambda: "openfl-node web" in browser.text("#stand"), "it says what to do")
    assert browser.find_all("#now") == []
    browser.listen()  # the refusal is in the console, as it should be
    browser.complaints.clear()


def test_it_says_that_the_node_has_stopped_and_finds_it_again(scene: Scene, tmp_path: Path) -> None:
    browser = scene.browser
    (home,) = deal_homes(tmp_path, "c")
    node = RunningNode(home, "--web", interval="0.5")
    with ending([node]):
        node.wait_for("round")
        link = link_of(home)
        browser.open(link)
        browser.until(lambda: browser.text("#stand") == "Live", "live")
        assert phase_in_report(home, tmp_path) == "learning"
        openfl_node("stop", "--home", str(home))
        until(lambda: node.process.poll() is not None, "the node ends")
        browser.until(lambda: "has stopped" in browser.text("#stand"), "it says so")
        assert browser.find_all("#learning .line"), "what it last told stays"
    assert phase_in_report(home, tmp_path) == "stopped"
    again = RunningNode(home, "--web", interval="0.5")
    with ending([again]):
        again.wait_for("web-listening")
        browser.until(lambda: browser.text("#stand") == "Live", "live again, by itself")
    browser.listen()
    browser.complaints.clear()
