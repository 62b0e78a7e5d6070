"""Comparing, following a value back, forking and following a run, in a real Chromium."""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.browser import SIZES

from Agent import AgentLogger, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.demo.platform import Settings, record_session
from Agent.replay import fork_run
from Agent.server.pages import PagesServer

pytestmark = pytest.mark.integration

CREATOR = "creator_017"


@pytest.fixture(scope="session")
def fork(demo) -> str:
    """The session of a fork of the demo in which one creator does not wait, from tick 35 on."""
    original = min(each.name for each in demo.root.glob("session_*")).removeprefix("session_")
    _, result = fork_run(
        f"{original}/{CREATOR}", "tick:35", {"cooldown_until": 0}, root=demo.root, live=["trend_service"]
    )
    return result.session.name.removeprefix("session_")


def compared(tab: Any, other: str) -> Any:
    """The page after the two clicks that compare it with another session."""
    page = tab.page
    page.locator(".label").first.wait_for()
    page.get_by_role("button", name="Compare").click()
    page.locator(".comparer .hits button", has_text=other).click()
    page.locator(".difference .first").wait_for()
    return page


def test_two_clicks_show_the_first_difference_of_two_sessions_with_both_values(demo, fork, open_tab):
    page = compared(open_tab(demo), fork)
    assert "creator_017 · tick 35 · agent_action step" in page.locator(".difference .where").inner_text()
    assert page.locator(".sides code").all_inner_texts() == ["'wait'", "'prepare'"]
    assert page.locator(".moment b").inner_text() == "Tick 35", "the cursor stands at it"
    labels = page.locator(".label .name")
    assert labels.all_inner_texts() == [CREATOR, f"↳ in {fork}"], "lanes in pairs, only those that differ"
    state = page.locator(".differences .fields .row", has_text="cooldown_until")
    state.locator(".there").get_by_text("0", exact=True).wait_for()
    assert state.locator(".value").all_inner_texts() == ["3634", "0"]
    page.locator(".pairs button").first.wait_for()
    for each in page.locator(".pairs .soft").all_inner_texts():
        one, _, other = each.partition(" → ")
        assert one.strip() != other.strip(), "only what differs is listed"


def test_each_pair_that_differs_moves_the_cursor_and_a_comparison_is_an_address(demo, fork, open_tab):
    page = compared(open_tab(demo), fork)
    page.locator(".pairs button").nth(2).click()
    page.get_by_text("Tick 37", exact=True).wait_for()
    page.wait_for_timeout(500)
    address = page.url
    assert f"compare={fork}" in address
    other = page.context.new_page()
    other.goto(address)
    other.locator(".difference .first").wait_for()
    assert other.locator(".moment b").inner_text() == "Tick 37", "not the first difference: it was asked for"
    page.get_by_role("button", name="Only what differs").click()
    page.locator(".label", has_text="trend_service").wait_for()
    page.get_by_role("button", name="End the comparison").click()
    page.locator(".findings").wait_for()
    assert page.locator(".label.beside").count() == 0
    page.go_back()
    page.locator(".label.beside").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_a_comparison_can_be_used_by_everybody(demo, fork, open_tab, size, scheme):
    tab = open_tab(demo, size=size, scheme=scheme)
    page = compared(tab, fork)
    page.locator(".pairs button").first.wait_for()
    assert tab.serious() == []
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0


# where a value comes from


class Seller:
    def __init__(self) -> None:
        self.agent_id = self.agent_role = "seller"
        self.log = AgentLogger("seller", "seller")

    @trace_agent_action
    def quote(self, offer: dict[str, float]) -> Any:
        return self.log.send("buyer", {"price": offer["price"]})


class Buyer:
    def __init__(self) -> None:
        self.agent_id = self.agent_role = "buyer"
        self.limit = 0.0
        self.log = AgentLogger("buyer", "buyer")

    @trace_agent_action
    def decide(self, message: Any) -> None:
        self.log.receive(message)
        self.limit = message.body["price"]


@pytest.fixture(scope="session")
def market(tmp_path_factory):
    """The pages of a session in which a value goes from one agent to another."""
    root = tmp_path_factory.mktemp("market") / "trace"
    setup_logging(trace_root=root)
    seller, buyer = Seller(), Buyer()
    for number in range(3):
        with tick(number):
            buyer.decide(seller.quote({"price": 417.5 + number}))
    shutdown_logging()
    with PagesServer(root) as server:
        yield server


def test_a_click_on_a_value_shows_the_events_that_it_came_by_and_each_is_a_click_away(market, open_tab):
    tab = open_tab(market)
    page = tab.page
    page.locator(".label", has_text="buyer").click()
    page.locator(".marks").click(position={"x": 700, "y": 10})
    row = page.locator(".states .row").filter(has=page.get_by_text("limit", exact=True))
    row.locator(".value", has_text="419.5").click()
    way = page.locator(".origin")
    way.get_by_text("It ends here: an argument from code that is not traced.").wait_for()
    hops = way.locator(".causes li")
    assert hops.locator(".who").all_inner_texts() == ["buyer", "buyer", "seller", "seller"]
    assert hops.locator("code").all_inner_texts() == ["419.5"] * 4
    assert hops.nth(1).locator(".basis").inner_text() == "inferred: same value"
    assert "quote, from args.offer.price" in hops.nth(3).inner_text()
    hops.nth(3).locator(".link").click()
    page.locator(".label[aria-pressed=true] .name", has_text="seller").wait_for()
    page.locator(".detail", has_text="Agent action: quote").wait_for()
    assert way.is_visible(), "the way stays, so that the next event is a click away, too"
    assert tab.serious() == []
    page.wait_for_timeout(500)
    other = page.context.new_page()
    other.goto(page.url)
    other.locator(".origin .causes li").nth(3).wait_for()
    page.keyboard.press("Escape")
    way.wait_for(state="hidden")


def test_a_value_that_was_computed_ends_with_what_the_action_had_at_hand(demo, open_tab):
    page = open_tab(demo).page
    page.locator(".label").first.wait_for()
    page.goto(f"{page.url.partition('?')[0]}?agent={CREATOR}&t=9e12")
    row = page.locator(".row").filter(has=page.get_by_text("cooldown_until", exact=True))
    row.locator(".value").click()
    way = page.locator(".origin")
    way.get_by_text("It ends here: computed in this action.").wait_for()
    assert "args.observation.tick" in way.locator(".evidence").inner_text()


# what if


@pytest.fixture(scope="session")
def forking(demo):
    """The pages of the demo's session, which may fork it."""
    with PagesServer(demo.root, allow_fork=True) as server:
        yield server


def test_four_clicks_fork_a_run_with_a_changed_field_and_show_its_difference(demo, forking, open_tab):
    tab = open_tab(forking)
    page = tab.page
    page.locator("button.card").first.wait_for()
    page.locator(".forker").click()
    page.locator(".whatif label", has_text="cooldown_until").locator("input").fill("0")
    assert page.locator(".whatif label.edited").inner_text() == "cooldown_until"
    assert tab.serious() == []
    page.get_by_role("button", name="Run the fork").click()
    page.locator(".difference .first").wait_for()
    assert page.locator(".sides code").all_inner_texts() == ["'wait'", "'prepare'"]
    notes = page.locator(".notes")
    assert "Changed: creator_017.cooldown_until" in notes.inner_text()
    assert notes.evaluate("each => each.scrollHeight <= each.clientHeight"), "no line is cut"
    state = page.locator(".differences .fields .row", has_text="cooldown_until")
    state.locator(".there").get_by_text("0", exact=True).wait_for()


def test_five_clicks_find_the_point_of_no_return_of_what_the_whole_platform_makes_of_a_change(
    forking, open_tab
):
    page = open_tab(forking).page
    page.locator("button.card").first.wait_for()
    page.locator(".forker").click()
    page.locator(".whatif label", has_text="cooldown_until").locator("input").fill("0")
    page.get_by_label("Outcome").fill("published>20")
    page.get_by_role("button", name="Find the point of no return").click()
    said = page.locator(".whatif pre")
    said.get_by_text("this assumes that").wait_for(timeout=400_000)
    found = said.inner_text()
    assert "there the change no longer alters creator_017.published>20" in found
    assert "it still does: true instead of false" in found
    assert "stopped" not in found, "the whole platform ran, so every lookup had an answer"
    lost = int(re.search(r"point of no return is after action \d+ \(\S+ tick (\d+)\)", found)[1])
    assert 40 < lost < 80, "long after the fault in tick 34, long before the end in tick 95"
    page.locator(".moment b", has_text=f"Tick {lost - 1}").wait_for()


@pytest.fixture(scope="session")
def small_platform(tmp_path_factory):
    """The pages of a small platform with the demo's fault, which may be forked."""
    root = tmp_path_factory.mktemp("small") / "trace"
    record_session(root, Settings(agents=6, ticks=60))
    with PagesServer(root, allow_fork=True) as server:
        yield server


def test_forks_test_the_causes_of_a_complaint_and_what_they_showed_is_drawn_double(small_platform, open_tab):
    page = open_tab(small_platform).page
    page.locator(".label").first.wait_for()
    page.get_by_label("Describe what is wrong").fill("creator_006 stopped publishing")
    page.get_by_role("button", name="Explain").click()
    page.locator(".sure, .unsure").first.wait_for()
    page.get_by_role("button", name="Test by forks").click()
    shown = page.locator(".evidence li", has_text="SHOWN")
    shown.first.wait_for(timeout=400_000)
    assert "0 with it" in shown.first.inner_text()
    assert page.locator(".basis", has_text="tested: ").count() > 0
    assert "likely, 95 %" in page.locator(".cards .where").first.inner_text()


def test_what_the_change_itself_sets_is_refused_as_an_outcome(forking, open_tab):
    tab = open_tab(forking)
    page = tab.page
    page.locator("button.card").first.wait_for()
    page.locator(".forker").click()
    page.locator(".whatif label", has_text="cooldown_until").locator("input").fill("3000")
    page.get_by_label("Outcome").fill("cooldown_until>3500")
    page.get_by_role("button", name="Find the point of no return").click()
    page.locator(".whatif pre").get_by_text("which the change itself sets").wait_for()
    assert tab.complaints and all("422" in each for each in tab.complaints)
    tab.complaints.clear()


def test_a_sweep_shows_how_the_outcome_is_distributed_and_the_smallest_change(forking, open_tab):
    tab = open_tab(forking)
    page = tab.page
    page.locator("button.card").first.wait_for()
    page.locator(".forker").click()
    page.get_by_role("button", name="Run a fork for each").click()
    said = page.locator(".whatif pre")
    said.get_by_text("Name values to try").wait_for()
    page.get_by_label("Values to try").fill("cooldown_until=0,40,90,4000")
    page.get_by_label("Outcome").fill("published>20")
    page.get_by_role("button", name="Run a fork for each").click()
    said.get_by_text("smallest change that does").wait_for(timeout=400_000)
    bars = [" ".join(text.split()) for text in page.locator(".bars > div").all_inner_texts()]
    assert bars == ["true 2", "false 2"]
    assert "2 of 4 differ from the unchanged run" in said.inner_text()
    assert '{"creator_017":{"cooldown_until":40}}' in said.inner_text()
    assert tab.serious() == []


def test_a_form_says_what_is_not_a_value_and_pages_without_leave_offer_no_fork(demo, forking, open_tab):
    page = open_tab(forking).page
    page.locator("button.card").first.wait_for()
    page.locator(".forker").click()
    field = page.locator(".whatif label", has_text="cooldown_until").locator("input")
    field.fill("zero")
    page.get_by_role("button", name="Run the fork").click()
    assert field.evaluate("each => each.validationMessage") == "Give a number"
    other = open_tab(demo).page
    other.locator("button.card").first.wait_for()
    other.locator(".states .row").first.wait_for()
    assert other.locator(".forker").count() == 0


def test_a_page_of_another_port_of_this_host_cannot_start_a_fork(forking, chromium, open_tab, tmp_path):
    page = open_tab(forking).page
    page.locator(".label").first.wait_for()  # the browser holds the cookie now
    session = page.url.partition("/s/")[2].partition("?")[0]
    (tmp_path / "evil.html").write_text("<p>evil</p>")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    before = sorted(forking.root.glob("session_*"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        attacker = page.context.new_page()
        attacker.goto(f"http://127.0.0.1:{evil.server_port}/evil.html")
        target = f"http://127.0.0.1:{forking.port}/api/{session}/forks"
        body = {"number": 1, "agent": CREATOR, "at": "aaaaaaaa-1", "values": {"cooldown_until": "0"}}
        answers = []
        attacker.on("response", lambda each: answers.append((each.request.method, each.status)))
        for kind in ("application/json", "text/plain"):
            for mode in ("cors", "no-cors"):
                attacker.evaluate(
                    "async ([url, body, kind, mode]) => { try { await fetch(url, {method: 'POST', mode, "
                    "credentials: 'include', headers: {'Content-Type': kind}, body}) } catch {} }",
                    [target, json.dumps(body), kind, mode],
                )
        attacker.evaluate(
            "([url]) => new Promise(done => { const f = document.createElement('form'); f.method = 'POST'; "
            "f.action = url; f.enctype = 'text/plain'; f.target = 'x'; const i = document.createElement('iframe'); "
            "i.name = 'x'; document.body.append(i, f); f.submit(); setTimeout(done, 1000); })",
            [target],
        )
        evil.shutdown()
    assert answers and {status for method, status in answers if method == "POST"} == {403}
    assert sorted(forking.root.glob("session_*")) == before


# live


def test_who_looks_back_at_a_running_session_is_told_how_much_is_new(open_tab, tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    logger = AgentLogger("writer", "author")
    for _ in range(50):
        logger.info("a line")
    # The page is closed before its server, which it would miss.
    with PagesServer(tmp_path / "trace") as server, closing((tab := open_tab(server)).page) as page:
        page.locator(".verdict", has_text="51 events").wait_for()
        for _ in range(10):
            logger.info("a line")
        page.locator(".verdict", has_text="61 events").wait_for()
        assert page.locator(".newer").is_hidden(), "at the end, what is new is shown at once"
        page.locator(".marks").click(position={"x": 200, "y": 10})
        at = page.locator(".moment b").inner_text()
        for _ in range(3_412):
            logger.info("a line")
        page.get_by_role("button", name="3,412 new").wait_for()
        assert (
            page.locator(".moment b").inner_text() == at
            and "61 events" in page.locator(".verdict").inner_text()
        )
        assert tab.serious() == []
        page.get_by_role("button", name="3,412 new").click()
        page.locator(".verdict", has_text="3,473 events").wait_for()
        logger.info("a line")
        page.locator(".verdict", has_text="3,474 events").wait_for()
        shutdown_logging()
        page.locator(".verdict", has_text="ended").wait_for()
