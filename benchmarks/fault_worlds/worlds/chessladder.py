"""A chess server: players who are paired and rated, arenas and rounds, game nodes with clocks, and a fair play desk."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, LearningLogger, caused_by, tick
from benchmarks.fault_worlds.kit import Case, World

NOVICES = ("knight_rider", "pawnstorm88", "lena_h", "slowrook", "tigran_jr", "mopsy", "bishopric", "ed_wood")
CLUB = ("zugzwang7", "ruy_l", "marta_k", "quiet_move", "najdorfer", "old_benoni", "castle_late", "e4_e5")
STRONG = (
    "knightrider",
    "im_farkas",
    "endgame_ann",
    "petroff_2",
    "deepthinker",
    "gm_osei",
    "blackmar",
    "tal_fan",
)
PLAYERS = (*NOVICES, *CLUB, *STRONG)
NODES, POOLS = ("node_a", "node_b", "node_c"), ("blitz", "rapid", "atomic")
STAFF = (
    "matchmaker",
    "points_desk",
    "events_team",
    "organiser",
    "fairplay",
    "partner_site",
    "player_support",
)
SHORTEST = {"slow_drift": 6, "off_by_one": 2}
HOURS = (50, 90, 140, 200)
MASTERS_FROM = 300  # points
NO_CONTEST = 500  # a gap in strength


@dataclass
class Fixture:
    """A round that was scheduled: when the node opens it, and when the players were told to come."""

    name: str
    players: tuple[str, str]
    opens: int
    told: int
    cause: str
    planned: bool = False


@dataclass
class Server:
    """Everybody on the server, what they hold, and the plan of the case."""

    case: Case
    now: int = 0
    serial: int = 0
    window: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POOLS, 150))
    points: dict[str, int] = field(default_factory=dict)
    rating: dict[str, int] = field(default_factory=dict)
    suspects: dict[str, str] = field(default_factory=dict)
    offset_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NODES, 0.0))
    drift_ms: float = 0.0
    fixtures: list[Fixture] = field(default_factory=list)
    maintained: dict[str, tuple[str, int]] = field(default_factory=dict)
    widened: str = ""
    away: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        roles = dict.fromkeys(PLAYERS, "player") | dict.fromkeys(NODES, "node")
        roles |= {name: name for name in STAFF}
        self.logs = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.learning = {name: LearningLogger("elo", name, "player") for name in PLAYERS}
        self.tuning = LearningLogger("windows", "matchmaker", "matchmaker")
        self.seating = InteractionLogger("matchmaker", "matchmaker")
        rng = self.case.rng("players")
        self.skill = {name: 900 + 58 * at + rng.randint(-20, 20) for at, name in enumerate(PLAYERS)}
        self.rating = dict(self.skill)
        self.points = {
            name: rng.randint(70, 110) if name in NOVICES else rng.randint(120, 180) for name in PLAYERS
        }
        self.points |= {name: rng.randint(320, 900) for name in STRONG}
        self.one = rng.choice(NOVICES[1:]) if self.case.has("forgotten_undo") else NOVICES[0]
        if self.case.kind in {"false_belief", "slow_drift", "off_by_one"}:
            self.one = rng.choice(CLUB)
        self.two = rng.choice(STRONG[1:])
        self.rival, self.third = rng.sample([name for name in CLUB if name != self.one], 2)

    def act(self, who: str, name: str, /, **data: object) -> str:
        """Record an action."""
        return self.logs[who].log_action(name, data)

    def ticket(self, who: str, about: str, text: str) -> None:
        """Let a player write to support; what the player of the case writes at its end is the symptom."""
        noted = self.act("player_support", "open_ticket", player=who, about=about)
        if text and who == self.one and self.now >= self.case.end:
            names = {"two": self.two, "rival": self.rival, "third": self.third}
            self.case.symptom(noted, *(words.format(**names) for words in TEXTS[text]))

    def free(self) -> list[str]:
        """Return who may play now, by strength; the players of the case wait for its end."""
        guarded = self.case.begin - 1 <= self.now <= self.case.end
        return [name for name in PLAYERS if name not in self.away or not guarded]

    def node(self, rng: random.Random) -> str:
        """Draw a node that is up."""
        down = {node for node, _ in self.maintained.values()}
        return rng.choice([name for name in NODES if name not in down])


def pair(server: Server, pool: str, one: str, two: str, *causes: str) -> None:
    """Seat two players, if their gap is within the window of the pool."""
    gap = abs(server.rating[one] - server.rating[two])
    with caused_by(*causes):
        if gap > server.window[pool]:
            server.logs["matchmaker"].log_decision("no_opponent", {"pool": pool, "players": [one, two]})
            return
        seated = server.logs["matchmaker"].log_decision("pair", {"pool": pool, "gap": gap})
    with caused_by(seated):
        server.seating.log_connection(one, two, "opponents", data={"pool": pool})
    rng = server.case.rng(f"{server.now}/{one}/{two}")
    lost = game(server, server.node(rng), (one, two), seated, rng, left_s=rng.randint(20, 90))
    if lost and pool not in server.maintained:
        server.case.hop(seated)
        server.case.hop(lost)
        with caused_by(lost):
            server.ticket(one, "opponent", "unequal")


def game(
    server: Server,
    node: str,
    players: tuple[str, str],
    cause: str,
    rng: random.Random,
    *,
    left_s: int,
    wins: str = "",
) -> str:
    """Play a game and rate it; return its last event if it was no contest or was lost on time."""
    server.serial += 1
    name, (white, black) = f"G{server.serial}", players
    edge = server.skill[white] - server.skill[black]
    winner = white if rng.random() < 1 / (1 + 10 ** (-edge / 400)) else black
    moves, flagged = rng.randint(22, 70), rng.random() < 0.08
    if abs(edge) > NO_CONTEST:
        winner, moves = max(players, key=server.skill.__getitem__), rng.randint(8, 14)
    winner = wins or winner
    with caused_by(cause):
        opened = server.act(node, "open_table", game=name, white=white, black=black)
    with caused_by(opened):
        spent = {"white_s": rng.randint(60, 280), "black_s": 300 - left_s}
        server.act(node, "clock", game=name, move=moves // 2, **spent)
        sent = server.act(black, "send_move", game=name, left_s=left_s)
        cut = server.offset_ms[node] > 1000 * left_s
        if cut:
            server.case.hop(sent)
        by = "time" if cut or flagged else "mate" if moves % 3 else "resignation"
        winner = white if cut else winner
        over = server.act(node, "game_over", game=name, winner=winner, by=by, moves=moves)
    loser = black if winner == white else white
    with caused_by(over):
        for who, change in ((winner, rng.randint(4, 9)), (loser, -rng.randint(4, 9))):
            server.rating[who] = max(
                server.skill[who] - 60, min(server.skill[who] + 60, server.rating[who] + change)
            )
            server.learning[who].log_reward(name, change, server.rating[who])
        if winner in server.suspects:
            closed = server.act("fairplay", "close_account", player=winner, game=name)
            server.case.trigger(over)
            server.case.hop(over, closed)
            with caused_by(closed):
                server.ticket(winner, "account", "closed")
    return over if abs(edge) > NO_CONTEST or cut else ""


def arena(server: Server, who: str, rng: random.Random) -> None:
    """Enter an arena: the section depends on points, the opponent on the section."""
    section = "masters" if server.points[who] >= MASTERS_FROM else "open"
    entered = server.act(who, "enter_arena", hours=rng.choice((1, 2)))
    with caused_by(entered):
        placed = server.act("organiser", "place", player=who, section=section, points=server.points[who])
    near = server.free()
    at = near.index(who) if who in near else 0
    level = STRONG if section == "masters" else NOVICES if who in NOVICES else tuple(near[at - 2 : at + 3])
    other = rng.choice([name for name in level if name != who and name in near] or [near[0]])
    lost = game(server, server.node(rng), (other, who), placed, rng, left_s=rng.randint(20, 90))
    if lost and who in NOVICES:
        server.case.hop(placed, lost)
        with caused_by(lost):
            server.ticket(who, "section", "masters")
    pay(
        server,
        who,
        f"A{server.now}-{who}",
        rng.randint(1, 5) if who in NOVICES else rng.randint(5, 9),
        entered,
    )


def pay(server: Server, who: str, what: str, points: int, cause: str) -> tuple[str, str]:
    """Book points for an arena; return both events."""
    with caused_by(cause):
        booked = server.act("points_desk", "book_points", player=who, arena=what, points=points)
    with caused_by(booked):
        server.points[who] += points
        return booked, server.learning[who].log_reward(what, points, server.points[who])


def schedule(
    server: Server, players: tuple[str, str], told: int, opens: int, *, planned: bool = False
) -> None:
    """Schedule a round on a node, and tell the players when to come."""
    name = f"round {1 + server.serial % 7}, board {1 + server.serial % 4}, {server.now}"
    fixed = server.act("organiser", "schedule_round", round=name, slot=opens, players=list(players))
    with caused_by(fixed):
        for who in players:
            message = server.logs["organiser"].send(who, {"round": name, "come_at": told})
            server.logs[who].receive(message)
    server.fixtures.append(Fixture(name, players, opens, told, fixed, planned))
    if planned:
        server.case.root(fixed)


def rounds(server: Server, rng: random.Random) -> None:
    """Open what is scheduled for now; whoever is not there loses."""
    for fixture in [fixture for fixture in server.fixtures if server.now in {fixture.opens, fixture.told}]:
        late = server.case.rng(f"late/{fixture.name}").random() < 0.1 and not fixture.planned
        if server.now == fixture.opens and (late or fixture.opens != fixture.told):
            with caused_by(fixture.cause):
                noted = server.act("node_a", "forfeit", round=fixture.name, absent=fixture.players[0])
            if fixture.planned:
                server.case.hop(noted)
        elif server.now == fixture.opens:
            for who in fixture.players:
                server.act(who, "open_round", round=fixture.name)
            game(server, server.node(rng), fixture.players, fixture.cause, rng, left_s=40)
        elif fixture.told > fixture.opens:
            came = server.act(fixture.players[0], "open_round", round=fixture.name)
            server.case.hop(came)
            with caused_by(came):
                server.ticket(fixture.players[0], "forfeit", "forfeit")


def report(server: Server, handle: str, sender: str, rng: random.Random) -> tuple[str, str, str]:
    """Report a handle to the fair play desk, which believes a partner, and looks itself in other cases."""
    message = server.logs[sender].send(
        "fairplay", {"handle": handle, "seen": "engine", "match": rng.randint(88, 97)}
    )
    got = server.logs["fairplay"].receive(message)
    with caused_by(got):
        if sender != "partner_site":
            return message.event_id, got, server.logs["fairplay"].log_decision("dismiss", {"handle": handle})
        decided = server.logs["fairplay"].log_decision("suspect", {"handle": handle}, "partner is reliable")
    server.suspects[handle] = decided
    return message.event_id, got, decided


def widen(server: Server, pool: str, node: str, hours: int) -> None:
    """Take a node down for some hours, and let the pool pair wider as long."""
    down = server.act("events_team", "begin_maintenance", node=node, hours=hours)
    with caused_by(down):
        old, server.window[pool] = server.window[pool], 1500
        server.widened = server.act("events_team", "set_window", pool=pool, was=old, now=1500)
    server.maintained[pool] = node, server.now + hours


def narrow(server: Server) -> None:
    """End maintenance that is over, and pair as narrowly as before."""
    case = server.case
    for pool, (node, until) in list(server.maintained.items()):
        if server.now < until:
            continue
        del server.maintained[pool]
        up = server.act("events_team", "end_maintenance", node=node)
        if pool == "atomic" and case.has("forgotten_undo") and server.now == case.begin:
            case.root(up, server.widened)
        if pool != "atomic" or not case.strikes("forgotten_undo", server.now):
            with caused_by(up):
                server.act("events_team", "set_window", pool=pool, was=server.window[pool], now=150)
            server.window[pool] = 150


def beat(server: Server, rng: random.Random) -> None:
    """Let the nodes compare their clocks, and set them right."""
    for node in NODES:
        noise, fails = rng.uniform(-18, 18), rng.random() < 0.06
        drifts = node == "node_b" and server.drift_ms > 0
        server.offset_ms[node] = server.offset_ms[node] + server.drift_ms if drifts else 0.0
        shown = server.act(
            node,
            "compare_clock",
            with_node=NODES[NODES.index(node) - rng.randint(1, 2)],
            ms=round(server.offset_ms[node] + noise),
        )
        if drifts and len(server.case.roots) < 4:
            server.case.root(shown)
        with caused_by(shown):
            if fails and not drifts:
                failed = server.logs[node].warning("time source: no answer", extra={"tries": 1})
                with caused_by(failed):
                    server.act(node, "ask_again", source="second")


def everyday(server: Server, rng: random.Random) -> None:
    """Games, arenas, rounds, reports, maintenance, settings, chores and handled errors of every hour."""
    draws, small = [rng.random() for _ in range(10)], rng.randint(1, 60)
    for _ in range(2):
        free, pool, at = server.free(), rng.choice(POOLS), rng.randint(0, len(PLAYERS) - 5)
        one, two = free[at], free[at + 1]
        joined = [server.act(who, "join_pool", pool=pool) for who in (one, two)]
        pair(server, pool, one, two, *joined)
    if draws[0] < 0.3:
        pool, lone, other = rng.choice(POOLS[:2]), rng.choice(NOVICES), rng.choice(STRONG)
        if pool not in server.maintained and {lone, other} <= set(server.free()):
            pair(
                server, pool, lone, other, *(server.act(who, "join_pool", pool=pool) for who in (lone, other))
            )
    if draws[1] < 0.35:
        arena(server, rng.choice(server.free()), rng)
    if draws[2] < 0.1:
        who = rng.choice(STRONG)
        won = server.act("organiser", "close_arena", winner=who, final=f"F{server.now}")
        pay(server, who, f"F{server.now}", rng.randint(200, 260), won)
    at, ahead = rng.randint(0, len(PLAYERS) - 6), server.now + round(2.718 ** rng.uniform(0, 3.7))
    if draws[3] < 0.25:
        free = [name for name in PLAYERS if name not in server.away]
        schedule(server, (free[at], free[at + 1]), ahead, ahead)
    if draws[4] < 0.15:
        partner, handle = rng.random() < 0.5, f"guest_{small}"
        sender = "partner_site" if partner else rng.choice(CLUB)
        *_, decided = report(server, handle if partner else rng.choice(PLAYERS), sender, rng)
        if partner and draws[5] > 0.6:
            with caused_by(decided):
                server.act("fairplay", "close_account", player=handle, game="")
    guarded = server.case.has("forgotten_undo") and server.case.begin - 6 <= server.now <= server.case.end
    pool, node = rng.choice(POOLS[:2] if guarded else POOLS), rng.choice(("node_a", "node_c"))
    if draws[5] < 0.12 and not server.maintained:
        widen(server, pool, node, rng.randint(1, 3))
    if draws[6] < 0.1:
        server.logs[rng.choice(NODES)].error("table lost, opened again", extra={"ms": small * 9})
    if draws[7] < 0.15:
        old, new = {"weight": small / 60}, {"weight": small / 59}
        server.tuning.log_policy_update({"games": small}, old, new)
    if draws[8] < 0.25:
        server.ticket(rng.choice(CLUB), rng.choice(("chat", "badge", "password", "rematch", "engine?")), "")
    if draws[9] < 0.12:
        server.act("events_team", rng.choice(("post_news", "set_banner", "new_puzzle")), number=small)
    if server.now == server.case.decoy_at:
        server.logs["node_c"].warning("memory nearly full", extra={"percent": 91})


TEXTS: dict[str, tuple[str, ...]] = {
    "unequal": (
        "I waited for a game and was given someone a thousand points above me. Nine moves. Is that meant to be fun?",
        "why was i put against {two}?? I always get people of my own level",
        "got crushed by {two}, usually it says that there is nobody for me and that is fine",
    ),
    "closed": (
        "My account is closed for cheating after I won one game. I have never cheated in my life!",
        "banned the minute I beat {rival}, and nobody tells me why",
        "locked out. {rival} and {third} can vouch for me, we have played for years",
    ),
    "flag": (
        "I lost on time with seconds on my clock, I have a screenshot of it",
        "the clock said I had time left and still {rival} got the win, he saw it too",
        "Flagged although my own clock was not at zero. With {third} it never happened",
    ),
    "forfeit": (
        "I was there to the minute and the round was already over, lost without a move",
        "My round says forfeit. I came when the organiser told me to, {rival} can confirm it",
        "no show?! i sat at the board on time, and {rival} as well",
    ),
    "masters": (
        "I am a beginner, why do I have to play masters in the arena? Last week I was with the others",
        "arena was a disaster, {two} and people like that in my section, I do not belong there",
        "got thrown in with the masters today, my friends {rival} and {third} are laughing at me",
    ),
}


def play(case: Case) -> None:
    """Play some days on the server, an hour a tick."""
    hours = case.rng("size").choice(HOURS)
    case.window(hours, SHORTEST.get(case.kind, 1))
    server = Server(case)
    server.away = (server.one, server.two)
    for server.now in range(hours):
        with tick(server.now):
            rng = case.rng(f"hour/{server.now}")
            beat(server, rng)
            narrow(server)
            everyday(server, rng)
            _begin(server, case.rng("plan"))
            rounds(server, rng)
            if server.now == case.end:
                _end(server, case.rng("end"))


def _begin(server: Server, rng: random.Random) -> None:
    """Do the act of the plan, rightly or wrongly."""
    case, now = server.case, server.now
    if case.has("forgotten_undo") and now == case.begin - 1:
        widen(server, "atomic", "node_c", 1)
    if now == case.end + 1 and case.has("slow_drift"):
        server.drift_ms = 0.0
        server.act("node_b", "ask_again", source="second")
    if now != case.begin:
        return
    if case.has("wrong_credit"):
        won = server.act("organiser", "close_arena", winner="knightrider", final=f"F{now}")
        to = "knight_rider" if case.strikes("wrong_credit", now) else "knightrider"
        case.root(*pay(server, to, f"F{now}", 240, won))
    elif case.has("false_belief"):
        handle = server.one if case.strikes("false_belief", now) else f"{server.one}_x"
        case.root(*report(server, handle, "partner_site", rng))
    elif case.has("slow_drift"):
        failed = server.logs["node_b"].warning("time source: no answer", extra={"tries": 1})
        case.root(failed)
        if case.strikes("slow_drift", now):
            server.drift_ms = 12_000 / (case.end - now)
        else:
            with caused_by(failed):
                server.act("node_b", "ask_again", source="second")
    elif case.has("off_by_one"):
        wrong = case.strikes("off_by_one", now)
        schedule(server, (server.one, server.rival), case.end, case.end - wrong, planned=True)


def _end(server: Server, rng: random.Random) -> None:
    """Let happen what needs the act of the plan to have been right."""
    case, one = server.case, server.one
    if case.has("wrong_credit"):
        arena(server, one, rng)
    elif case.has("forgotten_undo"):
        joined: list[Any] = [server.act(who, "join_pool", pool="atomic") for who in (server.two, one)]
        case.trigger(joined[-1])
        pair(server, "atomic", one, server.two, *joined)
    elif case.has("false_belief"):
        entered = server.act(one, "enter_arena", hours=1)
        with caused_by(entered):
            placed = server.act("organiser", "place", player=one, section="open", points=server.points[one])
        game(server, "node_a", (one, server.rival), placed, rng, left_s=40, wins=one)
    elif case.has("slow_drift"):
        joined = [server.act(who, "join_pool", pool="blitz") for who in (server.rival, one)]
        lost = game(server, "node_b", (server.rival, one), joined[0], rng, left_s=6)
        if lost:
            case.hop(lost)
            with caused_by(lost):
                server.ticket(one, "clock", "flag")


WORLD = World(
    "chessladder",
    "edges",
    ("wrong_credit", "forgotten_undo", "false_belief", "slow_drift", "off_by_one"),
    play,
    author=12,
)
