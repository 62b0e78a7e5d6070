"""The platform: builds the agents, runs them tick by tick, lets posts spread, and records everything."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from Agent import setup_logging, shutdown_logging
from Agent import tick as trace_tick
from Agent.demo.creators import KINDS, SLOTS, Creator, TrendService
from Agent.record.user_key import sign_targets
from Agent.tree.files.session import open_session, update_session
from Agent.utils import AgentLogger, InteractionLogger, SystemLogger, measure_performance, trace_agent_action

MAX_DEPTH = 12


@dataclass(frozen=True)
class CascadeShare:
    """One share in a cascade: the agent, from whom it has the post (`parent_id`), and its depth."""

    agent_id: str
    parent_id: str
    depth: int


@dataclass(frozen=True)
class Cascade:
    """The tree of shares of one post, in order of time."""

    content_id: str
    root_agent_id: str
    shares: tuple[CascadeShare, ...]

    @property
    def size(self) -> int:
        """The number of shares."""
        return len(self.shares)

    @property
    def depth(self) -> int:
        """The length of the longest path from the author to a share."""
        return max((share.depth for share in self.shares), default=0)

    def by_depth(self) -> list[int]:
        """The number of shares at depth 1, 2, 3, ..."""
        return [sum(share.depth == depth for share in self.shares) for depth in range(1, self.depth + 1)]


def spread(
    content_id: str,
    author: str,
    followers: Mapping[str, Sequence[str]],
    chance: float,
    rng: random.Random,
) -> Cascade:
    """Spread a post through the follower graph; each follower shares it with the same probability."""
    shares: list[CascadeShare] = []
    reached = {author}
    wave = [author]
    for depth in range(1, MAX_DEPTH + 1):
        next_wave = []
        for sharer in wave:
            for follower in followers[sharer]:
                if follower not in reached and rng.random() < chance:
                    reached.add(follower)
                    next_wave.append(follower)
                    shares.append(CascadeShare(follower, sharer, depth))
        if not next_wave:
            break
        wave = next_wave
    return Cascade(content_id, author, tuple(shares))


FOLLOWS_EACH = 5
CASCADE_LOGGED_FROM = 3
DEFAULT_AGENTS, DEFAULT_TICKS, DEFAULT_SEED = 50, 40, 7


@dataclass(frozen=True)
class Settings:
    """The size of the simulation, and its seed."""

    agents: int = DEFAULT_AGENTS
    ticks: int = DEFAULT_TICKS
    seed: int = DEFAULT_SEED

    @property
    def throttled_client(self) -> str:
        """The creator that reaches the planted bug."""
        return creator_id(min(17, self.agents))

    @property
    def throttled_from(self) -> int:
        """The tick from which its quota is used up."""
        return self.ticks // 3


@dataclass
class Outcome:
    """What happened, counted by the platform itself rather than from the trace."""

    posts: int = 0
    likes: int = 0
    comments: int = 0
    shares: int = 0
    failures: int = 0
    messages: int = 0
    collaborations: int = 0
    cascades: list[Cascade] = field(default_factory=list)
    last_published: dict[str, int] = field(default_factory=dict)


def creator_id(number: int) -> str:
    """The id of the n-th creator, counted from 1."""
    return f"creator_{number:03d}"


def agent_seed(seed: int, name: str) -> str:
    """The seed of one agent, so that its random numbers do not depend on the other agents."""
    return f"{seed}/{name}"


class Platform:
    """A content platform: creators, an audience, a trend service, and the follower graph.

    It is an agent itself: each tick is one of its actions, and what the others do is inside that, so a replay
    or a fork of it is one of the whole simulation.
    """

    def __init__(self, settings: Settings) -> None:
        self.agent_id, self.agent_role = "platform", "simulation"
        self.settings = settings
        self.rng = random.Random(agent_seed(settings.seed, "platform"))
        self.system_logger = SystemLogger()
        self.interaction_logger = InteractionLogger()
        self.trends = TrendService(
            agent_seed(settings.seed, "trend_service"),
            throttled_client=settings.throttled_client,
            throttled_from=settings.throttled_from,
        )
        self.inboxes: dict[str, list[Any]] = {}
        self.creators: dict[str, Creator] = {}
        for number in range(1, settings.agents + 1):
            name = creator_id(number)
            self.inboxes[name] = []
            self.creators[name] = Creator(
                name, seed=agent_seed(settings.seed, name), trends=self.trends, deliver=self._deliver
            )
        self.audience = [Audience(name, seed=agent_seed(settings.seed, name)) for name in SEGMENTS]
        self.followers = self._connect()
        self.outcome = Outcome()

    def run(self, progress: Callable[[int], None]) -> Outcome:
        """Run all ticks; `progress` is called with the number of each finished tick."""
        self.system_logger.log_simulation_start(name="content platform", configuration=asdict(self.settings))
        for number in range(self.settings.ticks):
            with trace_tick(number):
                self.run_tick(number)
            progress(number + 1)
        self.system_logger.log_simulation_end(name="content platform", outcome={"posts": self.outcome.posts})
        return self.outcome

    @trace_agent_action()
    def run_tick(self, number: int) -> int:
        """Run one tick: creators step, the audience reacts, posts spread, creators learn.

        Returns:
            The number of posts.
        """
        posts = []
        with measure_performance("creators_step"):
            for name, creator in self.creators.items():
                inbox, self.inboxes[name] = self.inboxes[name], []
                observation = {"tick": number, "slot": SLOTS[number % len(SLOTS)], "inbox": inbox}
                result = creator.step(observation)
                if result["post"] is not None:
                    posts.append(result["post"])
                    self.outcome.last_published[name] = number
                self.outcome.failures += result["did"] == "back_off"
        for post in posts:
            if post["partners"]:
                self._note_collaboration(post)
        with measure_performance("audience_reacts"):
            reactions = [segment.react(posts) for segment in self.audience] if posts else []
        for post in posts:
            self._conclude(
                post, [each[post["content_id"]] for each in reactions if post["content_id"] in each]
            )
        return len(posts)

    def _conclude(self, post: dict[str, Any], reactions: list[dict[str, int]]) -> None:
        """Add up the reactions to one post, and pass them to its creator."""
        likes, comments, shares = (
            sum(each[what] for each in reactions) for what in ("likes", "comments", "shares")
        )
        cascade = self._spread(post, likes)
        self.outcome.posts += 1
        self.outcome.likes += likes
        self.outcome.comments += comments
        self.outcome.shares += shares + cascade.size
        feedback = {
            "content_id": post["content_id"],
            "likes": likes,
            "comments": comments,
            "shares": shares,
            "new_followers": likes // 25 + 2 * cascade.size,
            "cascade": None,
        }
        if cascade.shares:
            feedback["cascade"] = {
                "size": cascade.size,
                "depth": cascade.depth,
                "first_sharer": cascade.shares[0].agent_id,
            }
        self.creators[post["author"]].receive_feedback(feedback)

    def _spread(self, post: dict[str, Any], likes: int) -> Cascade:
        """Spread a post among the creators, log each share, and log large cascades."""
        cascade = spread(post["content_id"], post["author"], self.followers, min(0.35, likes / 900), self.rng)
        for share in cascade.shares:
            self.interaction_logger.log_interaction(
                interaction_type="share",
                source_id=share.agent_id,
                target_id=share.parent_id,
                content_id=post["content_id"],
                data={"depth": share.depth},
            )
        if cascade.size >= CASCADE_LOGGED_FROM:
            self.outcome.cascades.append(cascade)
            self.interaction_logger.log_cascade(
                content_id=cascade.content_id,
                size=cascade.size,
                depth=cascade.depth,
                root_agent_id=cascade.root_agent_id,
                data={"by_depth": cascade.by_depth()},
            )
        return cascade

    def _note_collaboration(self, post: dict[str, Any]) -> None:
        self.outcome.collaborations += 1
        self.interaction_logger.log_collaboration(
            collaboration_type="joint_post",
            participants=[post["author"], *post["partners"]],
            content_id=post["content_id"],
        )

    def _deliver(self, message: Any) -> None:
        """Deliver a message to its recipient's inbox for its next step."""
        self.outcome.messages += 1
        self.inboxes[message.recipient].append(message)

    def _connect(self) -> dict[str, list[str]]:
        """Build the follower graph of the creators; the same for the same seed."""
        names = list(self.creators)
        followers: dict[str, list[str]] = {name: [] for name in names}
        for name in names:
            others = [other for other in names if other != name]
            for other in self.rng.sample(others, min(FOLLOWS_EACH, len(others))):
                followers[other].append(name)
                self.interaction_logger.log_connection(
                    source_id=name, target_id=other, connection_type="follow"
                )
        return followers


SEGMENTS = ("commuters", "students", "parents", "night_owls")
FEED_LENGTH = 6


class Audience:
    """One segment of the audience, with preferences for kinds of content and hours of the day."""

    def __init__(self, segment: str, *, seed: str) -> None:
        self.agent_id = f"audience_{segment}"
        self.agent_role = "audience"
        self.logger = AgentLogger(self.agent_id, self.agent_role)
        self.interaction_logger = InteractionLogger()
        self.rng = random.Random(seed)
        self.taste = {kind: round(self.rng.uniform(0.2, 1.0), 3) for kind in KINDS}
        self.activity = {slot: round(self.rng.uniform(0.2, 1.0), 3) for slot in SLOTS}

    @trace_agent_action()
    def react(self, posts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
        """React to the posts in the segment's feed: {content_id: {"likes", "comments", "shares"}}."""
        feed = sorted(posts, key=lambda post: (-self._appeal(post), post["content_id"]))[:FEED_LENGTH]
        return {post["content_id"]: self._react_to(post) for post in feed}

    def _appeal(self, post: Mapping[str, Any]) -> float:
        """The expected appeal of a post, without chance: 0 to about 2.5."""
        return float(self.taste[post["kind"]] * post["quality"] * (0.5 + post["heat"]))

    def _react_to(self, post: Mapping[str, Any]) -> dict[str, int]:
        reach = self.activity[post["slot"]] * (20 + 4 * post["followers"] ** 0.5)
        likes = int(reach * self._appeal(post) * self.rng.uniform(0.5, 1.5))
        comments = int(likes * self.rng.uniform(0.0, 0.2))
        shares = int(likes * self.rng.uniform(0.0, 0.15))
        for interaction_type, count in (("like", likes), ("comment", comments), ("share", shares)):
            if count:
                self.interaction_logger.log_interaction(
                    interaction_type=interaction_type,
                    source_id=self.agent_id,
                    target_id=post["author"],
                    content_id=post["content_id"],
                    data={"count": count},
                )
        return {"likes": likes, "comments": comments, "shares": shares}


TARGET = "Agent.demo.targets:creator"
"""The target for replays of a creator; the session stores it for each creator."""

WHOLE = "Agent.demo.targets:platform"
"""The target for replays and forks of the whole simulation."""


@dataclass(frozen=True)
class DemoRecording:
    """A finished recording: where it is, and what really happened in it."""

    session_id: str
    session: Path
    settings: Settings
    outcome: Outcome


def record_session(
    root: Path, settings: Settings, progress: Callable[[int], None] = lambda _: None
) -> DemoRecording:
    """Record the simulation as one session under `root`; `progress` gets the number of each tick.

    Raises:
        ConfigurationError: the root cannot be written, or the environment has an invalid setting.
    """
    session = setup_logging(trace_root=root, level="DEBUG")
    try:
        outcome = Platform(settings).run(progress)
    finally:
        shutdown_logging()
    targets = {"*": WHOLE} | dict.fromkeys(outcome.last_published, TARGET)
    signatures = sign_targets(open_session(session.path).session_uid, targets)
    update_session(session.path, targets=targets, target_signatures=signatures)
    return DemoRecording(session.session_id, session.path, settings, outcome)
