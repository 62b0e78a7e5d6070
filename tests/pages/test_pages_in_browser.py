"""The pages in a real Chromium, on the session of the demo and on a hostile one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import SIZES, Tab

from Agent import AgentLogger, setup_logging, shutdown_logging, trace_agent_action
from Agent.server.pages import PagesServer, editor_of

pytestmark = pytest.mark.integration

SECTIONS = ("overview", "runs", "learning", "interactions", "performance", "errors")
CREATOR = "creator_017"
EVIL = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\u202e\u0000\u001b[31m"
LONG = 10 * 1024 * 1024


class Hostile:
    def __init__(self):
        self.agent_id, self.agent_role = EVIL, EVIL
        self.text, self.count = EVIL, 0

    @trace_agent_action(EVIL)
    def act(self, words):
        self.count += 1
        self.text = words
        if self.count > 2:
            raise ValueError(EVIL)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesServer]:
    """The pages of a session whose names and texts want to be more than text."""
    root: Path = tmp_path_factory.mktemp("hostile") / "trace"
    setup_logging(trace_root=root)
    agent = Hostile()
    for words in (EVIL, "y" * LONG, EVIL):
        try:
            agent.act(words)
        except ValueError:
            AgentLogger(EVIL, EVIL).error(EVIL, {EVIL: EVIL})
    AgentLogger("plain", EVIL).info("</script><script>window.pwned=1</script>" + "\u2028\ud800\x07")
    shutdown_logging()
    with PagesServer(root) as server:
        yield server


def found(tab: Tab) -> Any:
    """The page, once the findings are there."""
    tab.page.locator("button.card").first.wait_for()
    return tab.page


def test_the_first_screen_says_what_is_wrong_and_two_clicks_show_the_cause(demo, open_tab):
    page = open_tab(demo).page
    page.locator(".verdict", has_text="can be replayed").wait_for()
    verdict = page.locator(".verdict").inner_text()
    for part in ("78 errors", "nothing lost", "66 agents", "96 ticks", "ended", "can be replayed"):
        assert part in verdict
    page.locator(".label").first.wait_for()
    assert page.locator(".label").first.inner_text().split() == ["trend_service", "78"]
    page.locator("button.card").first.wait_for()
    assert page.locator("button.card").count() <= 3
    card = page.locator("button.card").first.inner_text()
    assert CREATOR in card and "cooldown_until is 3634" in card
    assert page.locator(".moment b").inner_text() == "Tick 34", "the cursor stands at the first finding"

    row = page.locator(".states .row").filter(has=page.get_by_text("cooldown_until", exact=True))
    row.locator(".value").get_by_text(
        "3634", exact=True
    ).wait_for()  # what the finding tells is the state there
    page.locator("button.card").first.click()
    pane = page.locator(".detail")
    assert "cooldown_until is 3634" in pane.inner_text()
    row.locator(".value").click()
    pane.get_by_text("What led to it").wait_for()
    pane.get_by_text("TrendQuotaExceeded").first.wait_for()
    assert "trend_service" in pane.inner_text()


@pytest.mark.parametrize(("motion", "animation"), [("reduce", "none"), ("no-preference", "shimmer")])
def test_findings_are_pending_until_they_are_there_and_still_for_those_who_want_no_motion(
    demo, open_tab, motion, animation
):
    tab = open_tab(demo, "/sessions", motion=motion)
    page = tab.page
    pending = {"state": "pending", "status": "", "causes": []}
    page.route("**/findings*", lambda route: route.fulfill(json=pending))
    page.locator("main a").first.click()
    page.get_by_text("Looking for what is wrong").wait_for()
    card = page.locator(".card.pending").first
    assert card.evaluate("each => getComputedStyle(each).animationName") == animation
    page.locator(".label").first.wait_for()
    assert tab.serious() == []


def test_one_click_on_a_value_goes_to_where_it_was_set_and_backspace_goes_back(demo, open_tab):
    page = found(open_tab(demo))
    page.goto(f"{page.url.partition('?')[0]}?agent={CREATOR}&t=9e12")
    row = page.locator(".row").filter(has=page.get_by_text("cooldown_until", exact=True))
    row.locator(".value", has_text="3634").wait_for()
    page.wait_for_timeout(500)  # the address is written behind the last move
    before = page.url
    row.locator(".value").click()
    detail = page.locator(".detail")
    detail.get_by_text("changed=cooldown_until").wait_for()
    assert page.locator(".moment b").inner_text() == "Tick 34"
    page.get_by_text("What led to it").wait_for()
    assert detail.locator(".causes li.recorded").count() > 0
    inferred = detail.locator(".causes li.inferred .basis")
    assert inferred.count() > 0 and all(
        re.fullmatch(r"inferred: [a-z ]+", each) for each in inferred.all_inner_texts()
    )
    page.get_by_role("button", name="Involved").click()
    page.locator(".label", has_text="creator_018").wait_for(state="hidden")
    involved = {each.split()[0] for each in page.locator(".label").all_inner_texts()}
    assert {CREATOR, "trend_service"} <= involved, "the causes of the event are drawn over the lanes"
    page.get_by_role("button", name="Involved").click()
    page.keyboard.press("Backspace")
    detail.wait_for(state="hidden")
    assert page.url == before


def test_every_view_is_an_address(demo, open_tab):
    page = found(open_tab(demo))
    page.locator("button.card").nth(1).click()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("m")
    page.get_by_role("button", name="By role").click()
    page.get_by_label("Filter lanes").fill("creator_0")
    page.wait_for_timeout(500)
    address, shown = page.url, page.locator(".label").all_inner_texts()
    for part in ("finding=1", "from=", "to=", "messages=1", "order=role", "find=creator_0", "agent=", "t="):
        assert part in address
    assert "token" not in address
    other = page.context.new_page()
    other.goto(address)
    found_again = other.locator(".detail .headline")
    found_again.wait_for()
    assert found_again.inner_text() == page.locator(".detail .headline").inner_text()
    assert other.locator(".label").all_inner_texts() == shown
    other.locator(".scroller").evaluate("each => each.scrollTop = 0")
    assert other.locator(".group").inner_text().split() == ["creator", "60"]
    other.wait_for_timeout(500)
    assert other.url == address


def test_everything_can_be_done_with_the_keyboard(demo, open_tab):
    page = found(open_tab(demo))
    tick = lambda: page.locator(".moment b").inner_text()  # noqa: E731
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_text("Tick 35", exact=True).wait_for()
    page.keyboard.press("Shift+ArrowLeft")
    page.get_by_text("Tick 34", exact=True).wait_for()
    page.keyboard.press("]")
    page.locator(".detail").wait_for()
    page.locator(".label[aria-pressed=true]", has_text="trend_service").wait_for()
    page.keyboard.press("Escape")
    page.locator(".detail").wait_for(state="hidden")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(".label[aria-pressed=true] .name").inner_text()
    assert chosen.startswith("creator_")
    page.get_by_role("heading", name=chosen).first.wait_for()
    at = page.url
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    assert page.url != at
    page.keyboard.press("Enter")
    page.locator(".detail").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(CREATOR)
    page.locator(".hits button").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".label[aria-pressed=true] .name", has_text=CREATOR).wait_for()
    page.evaluate("() => document.activeElement.blur()")
    was = tick()
    page.keyboard.press("Space")
    page.wait_for_timeout(2500)
    page.keyboard.press("Space")
    assert tick() != was
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_a_session_that_is_written_grows_while_one_looks(open_tab, tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    logger = AgentLogger("writer", "author")
    logger.info("a line")
    with PagesServer(tmp_path / "trace") as server:
        page = open_tab(server).page
        page.locator(".verdict", has_text="running").wait_for()
        page.locator(".label", has_text="writer").wait_for()
        assert page.locator(".label").count() == 2
        AgentLogger("late", "author").error("it failed")
        for number in range(20):
            logger.info("a line", extra={"number": number})
        page.locator(".verdict", has_text="1 error").wait_for()
        page.locator(".label", has_text="late").wait_for()
        assert page.locator(".label").all_inner_texts()[0].startswith("writer"), "lanes that are there stay"
        page.close()  # it would ask again
    shutdown_logging()


def test_search_filters_and_axes_change_what_is_shown(demo, open_tab):
    page = found(open_tab(demo))
    page.get_by_label("Search agents and events").fill("quota")
    page.locator(".hits button").filter(has_text="TrendQuotaExceeded").first.click()
    page.locator(".detail").get_by_text("TrendQuotaExceeded").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Errors", exact=True).click()
    assert page.locator(".label").all_inner_texts() == ["trend_service\n78"]
    page.get_by_role("button", name="Errors", exact=True).click()
    page.get_by_label("Filter lanes").fill("no such agent")
    page.get_by_text("No lane matches the filter.").wait_for()
    page.get_by_label("Filter lanes").fill("")
    page.get_by_role("button", name="Ticks").click()
    page.wait_for_timeout(400)
    assert "axis=time" in page.url
    page.get_by_label("Describe what is wrong").fill(f"Agent {CREATOR} stopped publishing")
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("heading", name="What explains it").wait_for()
    page.locator("button.card").first.wait_for()
    assert "cooldown_until" in page.locator("button.card").first.inner_text()


@pytest.mark.parametrize("size", list(SIZES))
def test_a_long_name_makes_no_report_wider_than_the_window(open_tab, tmp_path, size):
    setup_logging(trace_root=tmp_path / "trace")

    class Named:
        agent_id = "x" * 200

        @trace_agent_action()
        def fail(self) -> None:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Named().fail()
    shutdown_logging()
    with PagesServer(tmp_path / "trace") as server:
        page = open_tab(server, size=size).page
        home = page.url.partition("/s/")[0]
        for name in SECTIONS:
            page.goto(f"{home}/s/newest/report/{name}")
            assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_people_who_cannot_see_or_point_well_can_use_every_page(demo, open_tab, size, scheme):
    tab = open_tab(demo, size=size, scheme=scheme, motion="reduce")
    page = found(tab)
    assert tab.serious() == []
    page.locator("button.card").first.click()
    page.locator(".field").first.click()
    assert tab.serious() == []
    page.keyboard.press("?")
    assert tab.serious() == []
    page.keyboard.press("Escape")
    wide = "() => document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(wide) <= 0
    home = page.url.partition("/s/")[0]
    cut = "() => [...document.querySelectorAll('.wide')].filter(each => each.scrollWidth > each.clientWidth).length"
    for path in ("sessions", *(f"s/newest/report/{each}" for each in SECTIONS)):
        page.goto(f"{home}/{path}")
        assert tab.serious() == [], path
        assert page.evaluate(wide) <= 0, path
        if path.endswith(("learning", "interactions")):
            assert page.evaluate(cut) == 0, f"{path}: every column of the demo's tables is in sight"


def test_hostile_content_is_shown_as_text_on_every_page(hostile, open_tab):
    tab = open_tab(hostile)
    page = tab.page
    label = page.locator(".label").first
    label.wait_for()
    assert "<script>window.pwned=1</script>" in label.inner_text()
    assert not set(label.inner_text()) & set("\u202e\u0000\u001b")
    label.click()
    page.get_by_role("button", name="text", exact=True).click()
    page.locator(".rows button").first.click()
    page.locator(".detail").wait_for()
    page.locator(".detail summary").click()
    page.get_by_label("Search agents and events").fill("script")
    page.locator(".hits button").first.wait_for()
    page.locator(".card:not(.pending)").first.wait_for()
    assert page.locator("button.card").count() == 0 or "script" not in page.locator(
        ".cards"
    ).inner_html().replace("&lt;script", "")
    assert page.evaluate("() => window.pwned") is None
    assert len(page.content()) < 2_000_000, "of a text of 10 MB, a page holds a part"
    home, session = page.url.partition("/s/")[0], re.search(r"/s/([^?]+)", page.url)[1]
    for section in ("overview", "runs", "learning", "interactions", "performance", "errors"):
        page.goto(f"{home}/s/{session}/report/{section}")
        assert page.evaluate("() => window.pwned") is None
        assert page.locator("main script, main img").count() == 0, section
        assert len(page.content()) < 2_000_000, section


def test_an_agent_with_an_empty_id_is_shown_with_words_and_its_state(open_tab, tmp_path):
    class Nobody:
        agent_id, agent_role = "", "worker"

        def __init__(self):
            self.done = 0

        @trace_agent_action("work")
        def work(self):
            self.done += 1

    setup_logging(trace_root=tmp_path)
    Nobody().work()
    shutdown_logging()
    with PagesServer(tmp_path) as server:
        page = open_tab(server).page
        page.get_by_role("button", name="(no name)", exact=True).click()
        page.locator(".states .fields").get_by_text("done", exact=True).wait_for()
        assert page.locator(".states h2").inner_text().startswith("(no name)")
        page.close()


def test_an_address_with_a_moment_that_the_session_lacks_shows_the_session_and_says_so(demo, open_tab):
    tab = open_tab(demo)
    tab.page.goto(f"{tab.page.url.partition('?')[0]}?at=tick:9999")
    tab.page.locator(".notice").get_by_text("no tick 9999").wait_for()
    found(tab)
    assert all("moment" in each or "Failed to load resource" in each for each in tab.complaints)
    tab.complaints.clear()


def test_the_code_of_an_event_is_a_link_into_the_editor_and_a_strange_path_is_text(open_tab, tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    Hostile().act("words")
    shutdown_logging()
    (session,) = (tmp_path / "trace").glob("session_*")
    name = session.name.removeprefix("session_")
    told = [json.loads(line) for line in (session / "system.log").read_bytes().splitlines()]
    (code,) = [line for line in told if line["extra"]["event_type"] == "code"][:1]
    strange = ("javascript:window.pwned=1//", '/"><script>window.pwned=1</script>.py', "/gone/x.py")
    with (session / "system.log").open("a") as file:
        for number, path in enumerate(strange):
            line = code | {"id": f"{code['id'].partition('-')[0]}-{9001 + number}"}
            line["extra"] = code["extra"] | {"file": path, "digest": f"{number:016x}"}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    with PagesServer(tmp_path / "trace", editor=editor_of("vscode")) as server:
        tab = open_tab(server)
        tab.page.goto(server.address(f"/s/{name}", event=code["id"]))
        link = tab.page.locator(".detail .code a")
        line = Hostile.act.__wrapped__.__code__.co_firstlineno
        assert link.get_attribute("href") == f"vscode://file{Path(__file__).resolve()}:{line}"
        assert link.text_content() in str(Path(__file__).resolve()) + f":{line}"
        for number, path in enumerate(strange):
            event = f"{code['id'].partition('-')[0]}-{9001 + number}"
            tab.page.goto(server.address(f"/s/{name}", event=event))
            tab.page.get_by_text(event, exact=True).wait_for()
            tab.page.locator(".detail .said").wait_for()
            assert tab.page.locator(".detail a").count() == 0
            shown = tab.page.locator(".detail .code")
            if number:
                assert f"{path}:{code['extra']['line']}" in shown.text_content()
            else:
                assert shown.count() == 0  # no path at all
            assert tab.page.evaluate("window.pwned") is None
        tab.page.close()  # before the server, which it goes on asking
