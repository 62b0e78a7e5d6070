"""Comparing, and following a value back, in a real Chromium."""

from __future__ import annotations

from typing import Any

import pytest
from support.browser import SIZES

from Agent import AgentLogger, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.replay import fork_run
from Agent.server.pages import PagesServer

pytestmark = pytest.mark.integration

CREATOR = "creator_017"


@pytest.fixture(scope="session")
def fork(demo) -> str:
    """The session of a fork of the demo in which one creator does not wait, from tick 35 on."""
    (original,) = (each.name.removeprefix("session_") for each in demo.root.glob("session_*"))
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
    assert hops.nth(1).locator(".basis").inner_text() == "inferred: the same value"
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
