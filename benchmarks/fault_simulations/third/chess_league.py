"""A Swiss chess tournament with an arbiter, a pairing desk, a rating office and twenty-four players."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

ROUNDS = 9
SETUP = {"fault": ""}


class Player:
    """Plays by its hidden strength."""

    def __init__(self, agent_id: str, strength: float) -> None:
        self.agent_id = agent_id
        self.strength = strength
        self.rating = round(strength)
        self.present = True

    @trace_agent_action()
    def sign_form(self, round_no: int, board: int, points: float) -> float:
        """Sign the form of a game with the own points."""
        return points


class RatingOffice:
    """Updates the ratings after each game."""

    def __init__(self) -> None:
        self.agent_id = "rating_office"
        self.games = 0

    @trace_agent_action()
    def rate(self, white: str, black: str, ratings: list[int], points: float) -> dict[str, int]:
        """Return the change of both ratings."""
        self.games += 1
        expected = 1 / (1 + 10 ** ((ratings[1] - ratings[0]) / 400))
        gain = 20 * (points - expected)
        if SETUP["fault"] == "rounding" and self.games > 24:
            return {"white": int(gain // 1), "black": int(-gain // 1)}
        return {"white": round(gain), "black": -round(gain)}


class PairingDesk:
    """Pairs players with equal points who have not met, and balances the colours."""

    def __init__(self) -> None:
        self.agent_id = "pairing_desk"
        self.log = AgentLogger(self.agent_id, "desk")
        self.met: set[frozenset[str]] = set()
        self.whites: dict[str, int] = {}
        self.had_bye: list[str] = []

    @trace_agent_action()
    def pair(self, round_no: int, table: dict[str, float]) -> list[tuple[str, str]]:
        """Return the games of a round as pairs of white and black."""
        order = sorted(table, key=lambda name: (-table[name], name))
        if len(order) % 2:
            bye = next(name for name in reversed(order) if name not in self.had_bye)
            self.had_bye.append(bye)
            order.remove(bye)
        games = []
        while order:
            first = order.pop(0)
            second = next((name for name in order if frozenset((first, name)) not in self.met), order[0])
            order.remove(second)
            self.met.add(frozenset((first, second)))
            games.append(self.colours(round_no, first, second))
        return games

    def colours(self, round_no: int, first: str, second: str) -> tuple[str, str]:
        """Give white to the one who had it less often."""
        balance = {name: self.whites.get(name, 0) for name in (first, second)}
        if SETUP["fault"] == "colours" and "player_08" in balance and round_no > 3:
            balance["player_08"] = -balance["player_08"]
        white = min((first, second), key=lambda name: balance[name])
        black = second if white == first else first
        self.log.log_decision(
            "colours", {"round": round_no, "white": white, "black": black, "balance": balance}
        )
        self.whites[white] = self.whites.get(white, 0) + 1
        self.whites[black] = self.whites.get(black, 0) - 1
        return white, black


class Arbiter:
    """Keeps the table of points."""

    def __init__(self, names: list[str]) -> None:
        self.agent_id = "arbiter"
        self.points = dict.fromkeys(names, 0.0)

    @trace_agent_action()
    def record(self, round_no: int, player: str, points: float, reason: str) -> float:
        """Add points of a round to a player; return the new total."""
        self.points[player] += points
        return self.points[player]

    @trace_agent_action()
    def snapshot(self, round_no: int) -> dict[str, float]:
        """Return a copy of the table for the notice board."""
        return dict(self.points)

    @trace_agent_action()
    def correct(self, round_no: int, player: str, by: float) -> float:
        """Correct a result that was entered wrongly."""
        self.points[player] += by
        return self.points[player]

    @trace_agent_action()
    def publish(self, round_no: int, table: dict[str, float]) -> int:
        """Make a table the official one."""
        self.points = dict(table)
        return len(table)


class Tournament:
    """Plays the rounds."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.players = {f"player_{i:02}": Player(f"player_{i:02}", 2250 - 25 * i) for i in range(1, 25)}
        self.arbiter, self.desk, self.office = Arbiter(list(self.players)), PairingDesk(), RatingOffice()
        self.hall = InteractionLogger()
        self.forms = dict.fromkeys(self.players, 0.0)
        self.blacks: dict[str, int] = dict.fromkeys(self.players, 0)
        self.byes = 0

    def play_round(self, round_no: int) -> None:
        """Pair, play, record, correct and publish."""
        table = {name: self.arbiter.points[name] for name, player in self.players.items() if player.present}
        typo = None
        games = self.desk.pair(round_no, table)
        for board, (white, black) in enumerate(games, 1):
            points = self.result(white, black)
            self.blacks[black] += 1
            self.hall.log_interaction("game", white, black, data={"round": round_no, "board": board})
            for name, share in ((white, points), (black, 1 - points)):
                self.players[name].sign_form(round_no, board, share)
                self.forms[name] += share
                wrong = round_no in {2, 4, 7} and board == 2 and share >= 0.5 and typo is None
                typo = (name, share) if wrong else typo
                self.arbiter.record(round_no, name, 0.0 if wrong else share, "game")
            change = self.office.rate(white, black, [self.players[n].rating for n in (white, black)], points)
            self.players[white].rating += change["white"]
            self.players[black].rating += change["black"]
        if len(table) % 2:
            self.give_bye(round_no, self.desk.had_bye[-1])
        draft = self.arbiter.snapshot(round_no)
        if typo:
            self.arbiter.correct(round_no, *typo)
            if not (SETUP["fault"] == "lost_correction" and round_no == 4):
                draft = self.arbiter.snapshot(round_no)
        self.arbiter.publish(round_no, draft)

    def give_bye(self, round_no: int, player: str) -> None:
        """Credit the player who has no opponent."""
        self.byes += 1
        self.forms[player] += 1
        self.arbiter.record(round_no, player, 1.0, "bye")
        if SETUP["fault"] == "bye_twice" and round_no == 5:
            self.arbiter.record(round_no, player, 1.0, "no opponent")

    def result(self, white: str, black: str) -> float:
        """Return the points of white."""
        edge = self.players[white].strength + 35 - self.players[black].strength
        expected = 1 / (1 + 10 ** (-edge / 400))
        chance = self.rng.random()
        return 1.0 if chance < expected - 0.15 else 0.5 if chance < expected + 0.15 else 0.0


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play the tournament."""
    SETUP["fault"] = fault
    event, system = Tournament(seed), SystemLogger("tournament")
    system.log_simulation_start("swiss", {"rounds": ROUNDS, "players": 24})
    press = AgentLogger("press_officer", "press")
    for round_no in range(1, ROUNDS + 1):
        system.log_phase(f"round {round_no}")
        if round_no == 3:
            event.players["player_19"].present = False
            event.desk.log.warning("player_19 withdraws because of illness", extra={"round": round_no})
        if round_no == 6:
            system.log_config("minutes_per_game", 90, 75)
        event.play_round(round_no)
        leader = max(event.arbiter.points, key=lambda name: event.arbiter.points[name])
        press.log_action(
            "bulletin", {"round": round_no, "leader": leader, "points": event.arbiter.points[leader]}
        )
    points = event.arbiter.points
    short = {name: points[name] - event.forms[name] for name in points if points[name] != event.forms[name]}
    for name, missing in short.items():
        AgentLogger("appeals").log_action("complaint", {"from": name, "difference": missing})
    press.log_action(
        "final_table",
        {"points": sum(points.values()), "ratings": sum(p.rating for p in event.players.values())},
    )
    return {
        "short": short, "ratings": sum(p.rating for p in event.players.values()),
        "blacks": event.blacks["player_08"], "total": sum(points.values()),
    }  # fmt: skip


FAULTS = {
    "rounding": Fault(
        "Gains and losses should cancel out, but all ratings together fell by dozens of points. Why?",
        lambda f, h: f["ratings"] < h["ratings"] - 30,
        lambda events: pick(events, "rating_office", "rate", where=lambda e: sum(e.result.values()) != 0),
    ),
    "colours": Fault(
        "player_08 complains of having had the same colour in nearly all later rounds",
        lambda f, h: abs(f["blacks"] - 4.5) > 2 > abs(h["blacks"] - 4.5),
        lambda events: pick(
            events,
            "pairing_desk",
            "colours",
            where=lambda e: "player_08" in e.args["balance"] and e.args["round"] > 3,
        ),
    ),
    "lost_correction": Fault(
        "Someone ended with fewer points than the signed forms of the games add up to",
        lambda f, h: any(gap < 0 for gap in f["short"].values()) and not h["short"],
        lambda events: pick(
            events,
            "arbiter",
            where=lambda e: e.act in {"correct", "publish", "snapshot"} and e.args["round_no"] == 4,
        ),
    ),
    "bye_twice": Fault(
        "why is the sum of the points in the final table higher than the number of games and byes?",
        lambda f, h: f["total"] > h["total"],
        lambda events: pick(
            events,
            "arbiter",
            "record",
            where=lambda e: e.args["round_no"] == 5 and e.args["reason"] == "no opponent",
        ),
    ),
}
