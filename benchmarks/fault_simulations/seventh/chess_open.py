"""A chess open of nine rounds: players, arbiters, a pairing officer and a scoreboard."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from Agent import SystemLogger, instrument
from benchmarks.fault_simulations.kit import Fault, pick

ROUNDS = 9
PLAYERS = 41
POINTS = {"1-0": (1.0, 0.0), "0-1": (0.0, 1.0), "draw": (0.5, 0.5), "+:-": (1.0, 0.0), "-:+": (0.0, 1.0)}


class Player:
    """Somebody who plays."""

    def __init__(self, name: str, rating: int) -> None:
        """Make a player."""
        self.name = name
        self.rating = rating

    def sit_down(self, board: int, minutes_late: int) -> None:
        """Arrive at a board."""

    def sign(self, board: int, result: str) -> str:
        """Sign the slip of a game."""
        return result


class Arbiter:
    """An arbiter of one hall."""

    def __init__(self, name: str, boards: range) -> None:
        """Make an arbiter of some boards."""
        self.name = name
        self.boards = boards
        self.tolerance = 30

    def set_tolerance(self, minutes: int) -> None:
        """Note how late players may be today."""
        self.tolerance = minutes

    def check_board(self, board: int, white_late: int, black_late: int) -> str:
        """Return the result of a game that nobody came to in time, or nothing."""
        if white_late > self.tolerance:
            return "-:+"
        return "+:-" if black_late > self.tolerance else ""

    def collect_slip(self, board: int, slip: int) -> int:
        """Take the signed slip to the office."""
        return slip


class Scoreboard:
    """The list of points."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.name = "scoreboard"
        self.points: dict[str, float] = {}
        self.slips: set[int] = set()

    def enter(self, slip: int, white: str, black: str, result: str) -> bool:
        """Enter a slip unless it was entered before."""
        if slip in self.slips:
            return False
        self.slips.add(slip)
        for player, won in zip((white, black), POINTS[result], strict=True):
            self.points[player] = self.points.get(player, 0.0) + won
        return True

    def enter_bye(self, player: str) -> None:
        """Give the point of a bye."""
        self.points[player] = self.points.get(player, 0.0) + 1.0


class PairingOfficer:
    """Pairs the rounds and keeps the record of byes."""

    def __init__(self) -> None:
        """Open the office."""
        self.name = "pairing_office"
        self.byes: list[str] = []
        self.met: set[tuple[str, str]] = set()

    def pair(self, round_number: int, order: list[str], points: Mapping[str, float]) -> list[tuple[str, str]]:
        """Pair neighbours in the order of points who have not met; the rest gets a bye."""
        waiting, pairs = list(order), []
        if len(waiting) % 2:
            free = next((name for name in reversed(waiting) if name not in self.byes), waiting[-1])
            waiting.remove(free)
            pairs.append((free, ""))
        while waiting:
            one = waiting.pop(0)
            other = next((name for name in waiting if tuple(sorted((one, name))) not in self.met), waiting[0])
            waiting.remove(other)
            self.met.add(tuple(sorted((one, other))))  # type: ignore[arg-type]
            pairs.append((one, other) if round_number % 2 else (other, one))
        return pairs

    def close_round(self, round_number: int, bye: str, games: int) -> None:
        """File a round."""
        if bye:
            self.byes.append(bye)


def traced() -> None:
    """Record what the people of the tournament do."""
    instrument(Player, ["sit_down", "sign"], agent_id="name", agent_role="player")
    instrument(
        Arbiter, ["set_tolerance", "check_board", "collect_slip"], agent_id="name", agent_role="arbiter"
    )
    instrument(Scoreboard, ["enter", "enter_bye"], agent_id="name", agent_role="scoreboard")
    instrument(PairingOfficer, ["pair", "close_round"], agent_id="name", agent_role="office")


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play nine rounds."""
    traced()
    rng = random.Random(f"open{seed}")
    players = [Player(f"p_{n:02}", 2380 - n * 28 + rng.randint(-25, 25)) for n in range(1, PLAYERS)]
    players[-1].rating = 660
    players.append(Player("p_41", 620))
    people = {player.name: player for player in players}
    arbiters = [
        Arbiter("arbiter_1", range(1, 8)),
        Arbiter("arbiter_2", range(8, 15)),
        Arbiter("arbiter_3", range(15, 22)),
    ]
    board_list, office = Scoreboard(), PairingOfficer()
    true_points = dict.fromkeys(people, 0.0)
    system = SystemLogger("open")
    system.log_simulation_start("open", {"rounds": ROUNDS, "players": PLAYERS})
    outcome: dict[str, Any] = {"lost_by_default": [], "gap": 0.0}
    slip, handed_again = 1000, False
    for number in range(1, ROUNDS + 1):
        system.log_phase(f"round {number}", data={"hall": "B" if number in (4, 8) else "A"})
        for arbiter in arbiters:
            minutes = 30 if number not in (1, 5) else 45
            if fault == "short_grace" and number == 6 and arbiter.name == "arbiter_2":
                minutes = 15
            arbiter.set_tolerance(minutes)
        absent = {"p_18"} if number == 7 else set()
        order = sorted(
            people.keys() - absent, key=lambda name: (-board_list.points.get(name, 0.0), -people[name].rating)
        )
        pairs = office.pair(number, order, dict(board_list.points))
        bye = ""
        boards = 0
        delayed = {rng.choice(range(8, 15)) for _ in range(3)} | {3, 17} if number == 6 else set()
        for white, black in pairs:
            if not black:
                bye = white
                board_list.enter_bye(white)
                true_points[white] += 1.0
                continue
            boards += 1
            outcome["gap"] = max(
                outcome["gap"],
                abs(board_list.points.get(white, 0.0) - board_list.points.get(black, 0.0))
                if boards < 6
                else 0.0,
            )
            result = play_game(
                rng, people[white], people[black], arbiters, boards, boards in delayed, outcome
            )
            for player, won in zip((white, black), POINTS[result], strict=True):
                true_points[player] += won
            slip += 1
            arbiter = next(arbiter for arbiter in arbiters if boards in arbiter.boards)
            arbiter.collect_slip(boards, slip)
            written = result
            if (
                fault == "sides_mixed"
                and number == 5
                and boards >= 4
                and "mixed" not in outcome
                and result != "draw"
            ):
                written = {"1-0": "0-1", "0-1": "1-0"}.get(result, result)
                outcome["mixed"] = boards
            board_list.enter(slip, white, black, written)
            if rng.random() < 0.04:  # handed in again
                board_list.enter(slip, white, black, written)
            if number == 5 and boards >= 2 and result != "draw" and not handed_again:
                handed_again = True
                slip += 1
                board_list.enter(slip if fault == "new_slip" else slip - 1, white, black, result)
        if rng.random() < 0.3:
            system.warning("printer jammed, list printed again", {"copies": rng.randint(20, 60)})
        filed = "" if fault == "bye_unfiled" and number == 2 else bye
        office.close_round(number, filed, boards)
        outcome.setdefault("byes", []).append(bye)
    outcome.pop("mixed", None)
    system.log_simulation_end(
        "open", {"winner": max(board_list.points, key=lambda name: board_list.points[name])}
    )
    outcome["wrong_points"] = sum(
        abs(board_list.points.get(name, 0.0) - points) > 0.1 for name, points in true_points.items()
    )
    outcome["twice_free"] = (
        len(outcome["byes"]) - len(set(outcome["byes"])) - max(0, outcome["byes"].count("") - 1)
    )
    outcome["points"] = round(sum(board_list.points.values()), 1)
    return outcome


def play_game(
    rng: random.Random,
    white: Player,
    black: Player,
    arbiters: list[Arbiter],
    board: int,
    delayed: bool,
    outcome: dict[str, Any],
) -> str:
    """Let two players play, and return the result."""
    late = [max(0, int(rng.gauss(-4, 5))), max(0, int(rng.gauss(-4, 5)))]
    if delayed:  # the tram stood still
        late[board % 2] = rng.randint(18, 27)
    arbiter = next(arbiter for arbiter in arbiters if board in arbiter.boards)
    chance = 1 / (1 + 10 ** ((black.rating - white.rating - 30) / 400))
    draw, luck = rng.random() < 0.25 * (1 - abs(2 * chance - 1)) * 2, rng.random()
    default = arbiter.check_board(board, late[0], late[1])
    if default:
        outcome["lost_by_default"].append(white.name if default == "-:+" else black.name)
        return default
    white.sit_down(board, late[0])
    black.sit_down(board, late[1])
    result = "draw" if draw else "1-0" if luck < chance else "0-1"
    white.sign(board, result)
    black.sign(board, result)
    return result


FAULTS = {
    "short_grace": Fault(
        "In round six I came 25 minutes late because of the tram, half an hour is allowed, and my point was gone "
        "already. With arbiter_1 upstairs they let people play.",
        lambda faulty, healthy: len(faulty["lost_by_default"]) > len(healthy["lost_by_default"]),
        lambda events: pick(events, "arbiter_2", "set_tolerance", where=lambda e: e.args["minutes"] < 30),
    ),
    "sides_mixed": Fault(
        "I compared the final list with my score sheets: I have a point less than I won over the board, so no prize.",
        lambda faulty, healthy: faulty["wrong_points"] > healthy["wrong_points"],
        lambda events: _contradicted(events)[:1],
    ),
    "bye_unfiled": Fault(
        "Why does the same player get a free point twice? The rules say one bye each.",
        lambda faulty, healthy: faulty["twice_free"] > healthy["twice_free"],
        lambda events: pick(
            events, "pairing_office", "close_round", where=lambda e: e.args["round_number"] == 2
        ),
    ),
    "new_slip": Fault(
        "The leader list after the fifth round has someone with a point more than there were games that he could "
        "have won. He sits far too high in the pairings now.",
        lambda faulty, healthy: faulty["points"] > healthy["points"] + 0.9,
        lambda events: _second(events)[:1],
    ),
}


def _contradicted(events: Any) -> list[str]:
    signed: dict[str, str] = {}
    found = []
    for event in events:
        if event.act == "sign":
            signed[event.agent] = event.args["result"]
        if event.act == "enter" and event.args["result"] in {"1-0", "0-1"}:
            if signed.get(event.args["white"]) not in {None, event.args["result"]}:
                found.append(event.id)
    return found


def _second(events: Any) -> list[str]:
    seen: dict[tuple[str, str], int] = {}
    found = []
    for event in events:
        if event.act == "enter":
            pair = (event.args["white"], event.args["black"])
            if seen.setdefault(pair, event.args["slip"]) != event.args["slip"]:
                found.append(event.id)
    return found
