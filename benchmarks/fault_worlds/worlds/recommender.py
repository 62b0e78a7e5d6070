"""A shop whose recommender learns which banner sells to which group of customers. Learning loggers.

One tick is an hour; what was learned goes live with each nightly publication. Evidence: rewards, updates and messages
name the events that they follow from.
"""

from __future__ import annotations

import math
from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

GROUPS = ("students", "parents", "commuters", "gardeners", "retirees")
BANNERS = ("books", "toys", "bikes", "seeds", "cruises")


class Shop:
    """The agents, what they learned, and which banner is live for which group."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("shop")
        self.likes = dict(zip(GROUPS, BANNERS, strict=True))
        self.learners = {group: LearningLogger("bandit", f"learner_{group}") for group in GROUPS}
        self.fronts = {group: AgentLogger(f"front_{group}", "front") for group in GROUPS}
        for agent, role in (
            ("attribution", "service"),
            ("publisher", "service"),
            ("campaigns", "service"),
            ("stock", "service"),
            ("mail_hub", "service"),
            ("sales_desk", "desk"),
        ):
            self.fronts[agent] = AgentLogger(agent, role)
        self.system = SystemLogger()
        self.value = {(g, b): (6.0 if self.likes[g] == b else 1.0) for g in GROUPS for b in BANNERS}
        self.live = dict(self.likes)
        self.sold_out: set[str] = set()
        self.last: dict[str, str] = {}  # the event that each thing was last changed by
        self.special: dict[int, list[dict[str, Any]]] = {}
        self.number = 0
        self.missed = dict.fromkeys(GROUPS, 0)

    def reward(self, group: str, banner: str, amount: float, causes: str) -> str:
        """Book a reward; return the event."""
        self.value[group, banner] += amount
        learned = self.learners[group].log_reward(
            banner, amount, round(self.value[group, banner], 2), causes=causes
        )
        return self.learners[group].log_learning_update(
            "value", {"banner": banner, "value": round(self.value[group, banner], 2)}, causes=learned
        )

    def serve(self, group: str) -> None:
        """Show the live banner of a group to a customer, and learn from the answer."""
        rng, case = self.rng, self.case
        self.number += 1
        view = f"v{self.number}"
        banner, explore = self.live[group], rng.random() < 0.08
        if explore:
            banner = rng.choice(BANNERS)
        chosen = self.learners[group].log_exploration_exploitation(
            banner, explore, 0.08, causes=self.last.get(group)
        )
        shown = self.fronts[group].log_action("show", {"view": view, "banner": banner}, causes=chosen)
        bought = rng.random() < 0.85 if banner == self.likes[group] else rng.random() < 0.02
        if not explore:
            self.missed[group] = 0 if bought else self.missed[group] + 1
        if bought:
            sale = self.fronts["attribution"].log_action(
                "credit_sale", {"view": view, "banner": banner, "amount": 1.0}, causes=shown
            )
            self.reward(group, banner, 0.02, sale)
        elif rng.random() < 0.1:
            self.fronts[group].log_action("skip", {"view": view}, causes=shown)
        if self.missed[group] >= 10:
            seen = self.fronts["sales_desk"].log_action(
                "sales_report", {"group": group, "views": 10, "sold": 0}, causes=shown
            )
            case.hop(chosen, shown)
            case.symptom(
                seen,
                f"{group} have stopped buying",
                f"nothing is sold to {group} any more; front_{group} shows banners as always",
                f"sales to {group} collapsed",
            )

    def launch(self, campaign: dict[str, Any]) -> None:
        """Start a campaign: three customers of its group see it and order, if it suits them and is in stock."""
        name, group = campaign["campaign"], campaign["group"]
        started = self.fronts["campaigns"].log_action(
            "start", {"campaign": name, "group": group}, causes=campaign["event"]
        )
        shown = self.fronts[group].log_action("show_campaign", {"campaign": name}, causes=started)
        fits = group == campaign["meant"]
        gone = campaign["item"] in campaign["sold_out"]
        word = "cancelled" if gone else "ordered" if fits else "ignored"
        seen = self.fronts["sales_desk"].log_action(
            "campaign_report",
            {"campaign": name, "group": group, "customers": 40, "outcome": word},
            causes=shown,
        )
        if gone:
            self.case.hop(started, shown)
            self.case.symptom(
                seen,
                f"all orders of campaign {name} had to be cancelled, the item is not there",
                f"campaign {name} sells something that we do not have; front_{group} knew nothing",
            )
        elif not fits:
            self.case.hop(started, shown)
            self.case.symptom(
                seen,
                f"campaign {name} has no orders at all",
                f"{name} was ignored by everybody, although front_{group} showed it",
            )


def play(case: Case) -> None:
    """Play the shop for some days."""
    shop = Shop(case)
    rng = shop.rng
    hours = rng.randint(80, 320)
    begin, end = case.window(hours)
    flow = math.exp(rng.uniform(math.log(0.6), math.log(14)))
    victim, calm = rng.choice(GROUPS), case.has("wrong_credit")
    published = 0
    for hour in range(hours):
        with tick(hour):
            if rng.random() < 0.07:
                shop.system.log_config(
                    rng.choice(("banner_width", "cache_mb", "beacon_ms", "language")),
                    rng.randint(1, 9),
                    rng.randint(1, 9),
                )
            if rng.random() < 0.05:
                shop.fronts["attribution"].error("beacon lost, sent again", {"view": f"v{shop.number}"})
            if rng.random() < 0.08:
                shop.fronts["mail_hub"].log_action(
                    "park", {"item": f"newsletter_{hour}", "to": "customer", "queue": "dead"}
                )
            if hour == case.decoy_at or rng.random() < 0.03:
                shop.fronts["publisher"].log_action("warm_up", {"pages": rng.randint(3, 30)})
            for _ in range(int(flow) + (rng.random() < flow % 1)):
                shop.serve(rng.choice(GROUPS))
            if calm and hour >= end:
                shop.serve(victim)
            _sales(shop, hour, victim)
            _campaigns(shop, hour, hours)
            if hour == end if calm and begin <= hour <= end else hour - published >= 24:
                published = hour
                _publish(shop)
            for campaign in shop.special.pop(hour, ()):
                shop.launch(campaign)


def _publish(shop: Shop) -> None:
    """Make live what was learned."""
    for group in GROUPS:
        best = max(BANNERS, key=lambda banner: (shop.value[group, banner], banner))
        old, shop.live[group] = shop.live[group], best
        shop.last[group] = shop.learners[group].log_policy_update(
            {"banner": best}, {"banner": old}, {"banner": best}
        )
    event = shop.fronts["publisher"].log_action(
        "publish", {"policies": len(GROUPS)}, causes=shop.last[GROUPS[0]]
    )
    if shop.case.has("wrong_credit") and shop.live != shop.likes:
        shop.case.trigger(event)


def _sales(shop: Shop, hour: int, victim: str) -> None:
    """Bulk sales that are credited to a banner; some are credited wrongly and put right."""
    case, rng = shop.case, shop.rng
    planned = case.has("wrong_credit") and hour == case.begin
    if not planned and rng.random() >= 0.1:
        return
    others = [group for group in GROUPS if group != victim or not case.has("wrong_credit")]
    group = victim if planned else rng.choice(others)
    banner = shop.likes[group]
    wrong = BANNERS[(BANNERS.index(banner) + 2) % 5]
    amount = (
        round(shop.value[group, banner] - shop.value[group, wrong] + 30, 1)
        if planned
        else float(rng.randint(5, 40))
    )
    shop.number += 1
    shown = shop.fronts[f"{group}"].log_action("show", {"view": f"v{shop.number}", "banner": banner})
    if planned and case.strikes("wrong_credit"):
        booked = wrong
    elif not planned and rng.random() < 0.25:
        first = shop.fronts["attribution"].log_action(
            "credit_sale", {"view": f"v{shop.number}", "banner": wrong, "amount": amount}, causes=shown
        )
        shop.reward(group, wrong, amount, first)
        shop.reward(group, wrong, -amount, first)
        booked = banner
    else:
        booked = banner
    credited = shop.fronts["attribution"].log_action(
        "credit_sale", {"view": f"v{shop.number}", "banner": booked, "amount": amount}, causes=shown
    )
    learned = shop.reward(group, booked, amount, credited)
    if planned:
        case.root(credited)
        case.hop(learned)


def _campaigns(shop: Shop, hour: int, hours: int) -> None:
    """Campaigns are loaded ahead of their start, and the stock says what is sold out."""
    case, rng = shop.case, shop.rng
    kind = case.kind if hour == case.begin and case.kind != "wrong_credit" else ""
    if not kind and rng.random() >= 0.1:
        return
    shop.number += 1
    name, item = f"C{shop.number}", f"item_{shop.number}"
    group, avoid = rng.sample(GROUPS, 2)
    start = case.end if kind else hour + rng.randint(1, hours // 2)
    aimed, shunned = (avoid, group) if kind and case.strikes("swapped_fields") else (group, avoid)
    body = {"campaign": name, "item": item, "group": aimed, "not_for": shunned, "start": start}
    if not kind and rng.random() < 0.12:  # loaded with exchanged groups, and loaded again
        shop.fronts["campaigns"].log_action("load", {**body, "group": shunned, "not_for": aimed})
    event = shop.fronts["campaigns"].log_action("load", body)
    if kind == "swapped_fields":
        case.root(event)
    campaign = {
        "campaign": name,
        "item": item,
        "group": aimed,
        "meant": group,
        "event": event,
        "sold_out": set(),
    }
    if kind == "dead_letter" or (kind != "swapped_fields" and rng.random() < 0.3):
        counted = shop.fronts["stock"].log_action("count", {"item": item, "left": 0}, causes=event)
        message = shop.fronts["stock"].send("campaigns", {"item": item, "left": 0}, causes=counted)
        if kind and case.strikes("dead_letter"):
            parked = shop.fronts["mail_hub"].log_action(
                "park", {"item": item, "to": "campaigns", "queue": "dead"}, causes=message.event_id
            )
            case.root(parked, message.event_id)
            campaign["sold_out"] = {item}
        else:
            if rng.random() < 0.3:  # parked and delivered again
                shop.fronts["mail_hub"].log_action(
                    "park", {"item": item, "to": "campaigns", "queue": "dead"}, causes=message.event_id
                )
                shop.fronts["mail_hub"].log_action("deliver_again", {"item": item}, causes=message.event_id)
            got = shop.fronts["campaigns"].receive(message)
            shop.fronts["campaigns"].log_action("drop", {"campaign": name}, causes=got)
            return
    shop.special.setdefault(start, []).append(campaign)


WORLD = World("recommender", "edges", ("wrong_credit", "swapped_fields", "dead_letter"), play)
