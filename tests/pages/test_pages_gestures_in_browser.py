"""Comparing in a real Chromium, on the session of the demo and a fork of it."""

from __future__ import annotations

from typing import Any

import pytest
from support.browser import SIZES

from Agent.replay import fork_run

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
