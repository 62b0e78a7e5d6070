"""A local energy market: meters, a forecaster with a weather service, a trader and a settlement office.

One tick is a quarter of an hour. Evidence: bare actions and metrics, neither spans nor causes.
"""

from __future__ import annotations

import math
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World


def play(case: Case) -> None:
    """Play the market for a few days."""
    rng = case.rng("market")
    quarters = rng.randint(60, 230)
    begin, end = case.window(quarters)
    houses = [f"house_{n:02d}" for n in range(1, rng.randint(6, 34))]
    feeders = {f"feeder_{n}": houses[n::3] for n in range(3)}
    logs = {house: AgentLogger(house, "meter") for house in houses}
    logs |= {feeder: AgentLogger(feeder, "feeder") for feeder in feeders}
    for agent, role in (
        ("weather", "service"),
        ("forecast", "forecaster"),
        ("trader", "trader"),
        ("grid_office", "office"),
        ("settlement", "office"),
        ("bank", "office"),
        ("auditor", "office"),
        ("registry", "office"),
        ("field_crew", "crew"),
    ):
        logs[agent] = AgentLogger(agent, role)
    metrics, system = PerformanceLogger("grid_office", "office"), SystemLogger()

    wind = {
        quarter: round(6 + 3 * math.sin(quarter / 17) + rng.uniform(-1, 1), 1)
        for quarter in range(quarters + 200)
    }
    asks: dict[int, list[int]] = {}  # when -> the quarters for which the weather service is asked
    for quarter in range(1, quarters):
        lead = max(1, round(math.exp(rng.uniform(0, math.log(0.6 * quarters)))))
        asks.setdefault(max(0, quarter - lead), []).append(quarter)
    if case.has("trusted_tool"):
        for wanted in asks.values():
            if end in wanted:
                wanted.remove(end)
        asks.setdefault(begin, []).append(end)
    spoken: dict[int, float] = {}
    plants: list[dict[str, Any]] = [
        {"plant": f"solar_{n}", "kw": round(rng.uniform(2, 9), 1), "from": 0} for n in range(4)
    ]
    true_kw = {str(plant["plant"]): float(plant["kw"]) for plant in plants}
    gain = dict.fromkeys(feeders, 1.0)
    trim = dict.fromkeys(feeders, 0.0)
    wrong_feeder = rng.choice(sorted(feeders))
    suspense = 0.0
    limit = 0.01 * 0.5 * len(houses) * (end - begin) * 0.9

    for now in range(quarters):
        with tick(now):
            if rng.random() < 0.07:
                name = rng.choice(("report_colour", "poll_seconds", "price_digits", "mail_digest"))
                system.log_config(name, rng.randint(1, 20), rng.randint(1, 20))
            if rng.random() < 0.05 or now == case.decoy_at:
                logs["field_crew"].log_action(
                    "inspect", {"place": rng.choice(sorted(feeders)), "found": "nothing"}
                )

            # New plants are registered ahead of the quarter in which they start.
            planned = case.has("wrong_unit") and now == begin
            if planned or rng.random() < 0.04:
                plant, kilowatts = f"solar_{len(plants)}", round(rng.uniform(2, 9), 1)
                start = end if planned else now + rng.randint(1, quarters // 2)
                said = kilowatts * 100 if planned and case.strikes("wrong_unit") else kilowatts
                entry = {
                    "plant": plant,
                    "kw": round(said, 1),
                    "from": start,
                    "feeder": rng.choice(sorted(feeders)),
                }
                event = logs["registry"].log_action("register_plant", entry)
                if planned:
                    case.root(event)
                plants.append(entry)
                true_kw[plant] = kilowatts

            for entry in plants:
                if entry["from"] == now > 0:
                    event = logs["registry"].log_action("commission", {"plant": entry["plant"]})
                    if case.has("wrong_unit") and now == end:
                        case.trigger(event)

            # A crew trims the meters of feeders; the plan's trim is wrong by a little at each reading.
            planned = case.has("slow_drift") and now == begin
            if planned or rng.random() < 0.06:
                feeder = wrong_feeder if planned else rng.choice([f for f in feeders if f != wrong_feeder])
                value = round(rng.uniform(-9, 9), 1)
                if planned and case.strikes("slow_drift"):
                    value = round(0.1 / (end - begin + 0.5) * 1e6, 1)
                    trim[feeder] = value / 1e6
                event = logs["field_crew"].log_action("trim_meter", {"feeder": feeder, "ppm": value})
                if planned:
                    case.root(event)

            for quarter in asks.get(now, ()):
                logs["forecast"].log_action("ask_weather", {"quarter": quarter})
                answer = wind[quarter]
                strike = quarter == end and case.strikes("trusted_tool", now)
                if strike:
                    answer = round(answer * 2.6, 1)
                event = logs["weather"].log_action("answer", {"quarter": quarter, "wind": answer})
                if strike:
                    case.root(event)
                spoken[quarter] = answer
                if (
                    not strike and quarter != end and rng.random() < 0.08
                ):  # a wrong answer, asked again at once
                    logs["weather"].log_action("answer", {"quarter": quarter, "wind": round(answer * 2.6, 1)})
                    logs["forecast"].warning("implausible, asked again", {"quarter": quarter})
                    logs["weather"].log_action("answer", {"quarter": quarter, "wind": answer})
            if rng.random() < 0.04:
                logs["weather"].error("gateway timeout", {"retry": 1})

            # Readings, and the loss of each feeder.
            total = 0.0
            for feeder, members in feeders.items():
                load = 0.0
                for house in members:
                    used = round(rng.uniform(0.1, 0.9), 3)
                    logs[house].log_action("read", {"kwh": used})
                    load += used
                if trim[feeder]:
                    gain[feeder] += trim[feeder]
                shown = round(load * gain[feeder] * 1.01, 3)
                event = logs[feeder].log_action("read_feeder", {"kwh": shown})
                if trim[feeder] and len(case.roots) < 4:
                    case.root(event)
                loss = logs["grid_office"].log_action(
                    "balance_feeder", {"feeder": feeder, "loss": round(shown / load - 1, 4)}
                )
                if shown / load > 1.105:
                    case.hop(event)
                    metrics.log_metric("energy_lost_kwh", round(shown - load, 3), "kWh")
                    case.symptom(
                        loss,
                        f"{feeder} loses a tenth of its energy somewhere, and yet no cable is warm",
                        "why do the losses of the grid exceed ten percent? house_01 and its neighbours have not changed",
                        f"losses too high on {feeder}",
                    )
                total += load

            # The forecast of this quarter, the purchase, and what deviates from it.
            expected = (
                sum(float(plant["kw"]) for plant in plants if int(plant["from"]) <= now) / 40
                + spoken.get(now, wind[now]) / 2
            )
            real = (
                sum(true_kw[str(plant["plant"])] for plant in plants if int(plant["from"]) <= now) / 40
                + wind[now] / 2
            )
            seen = logs["forecast"].log_action("forecast", {"quarter": now, "own_kwh": round(expected, 2)})
            bid = logs["trader"].log_action(
                "buy", {"quarter": now, "kwh": round(max(0.0, total + 20 - expected), 2)}
            )
            gap = round(expected - real, 2)
            fee = logs["grid_office"].log_action(
                "charge_imbalance", {"quarter": now, "kwh": gap, "euro": round(abs(gap) * 3, 2)}
            )
            if abs(gap) > 2.5:
                case.hop(seen, bid)
                case.symptom(
                    fee,
                    f"we paid {abs(gap) * 3:.0f} euro for imbalance in quarter {now}, nobody knows why",
                    f"the trader bought far too little in quarter {now}",
                    "imbalance fee exploded. All meters of feeder_1 are fine",
                )

            # Settlement: shares in cents, the rest belongs to the last house.
            cents = round(total * 31.7)
            shares = [total and cents * rng.uniform(0.8, 1.2) / len(houses) for _ in houses[:-1]]
            cut = case.strikes("rounding_leak") and now >= begin
            paid = [math.floor(share) if cut else round(share) for share in shares]
            last = round(cents - sum(shares)) if cut else cents - sum(paid)
            settled = logs["settlement"].log_action(
                "settle", {"quarter": now, "cents": cents, "shares": [*paid, last]}
            )
            if cut and len(case.roots) < 3:
                case.root(settled)
            posted = logs["bank"].log_action("post", {"quarter": now, "cents": sum(paid) + last})
            suspense += (cents - sum(paid) - last) / 100
            audit = logs["auditor"].log_action(
                "compare_books", {"quarter": now, "difference": round(suspense, 2)}
            )
            if suspense > limit:
                case.hop(posted)
                case.symptom(
                    audit,
                    f"the books do not match: {suspense:.2f} euro are missing",
                    "where does the difference in the books come from? bank says that it posts what it gets",
                )
    metrics.flush()


WORLD = World("energy", "bare", ("wrong_unit", "slow_drift", "rounding_leak", "trusted_tool"), play)
