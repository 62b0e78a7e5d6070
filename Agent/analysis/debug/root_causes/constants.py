"""All numbers that decide which events count as causes, each with where its value comes from.

Three kinds: weights that were fitted to sessions with planted faults; thresholds set by hand; and limits of
work and of text, which change how long an answer takes or how it reads. Thresholds with one meaning have one
value everywhere. docs/EXPLAIN.md says what each rule that uses them pays.
"""

from __future__ import annotations

from typing import Final

__all__: list[str] = []

# Fitted.

WEIGHTS: Final = {
    "leads": 0.56,
    "breaks": 0.24,
    "near": 1.61,
    "before": 1.53,
    "then": -2.53,
    "late": 1.79,
    "odd": 0.27,
    "odd near": 0.67,
    "single": 2.05,
    "alike": -0.77,
    "after it": 0.3,
    "before it": 0.2,
}
"""Fitted by maximum likelihood (a conditional logit over all events of a session, with a penalty of 0.003 on
the squares) to 321 sessions with a planted fault, from worlds by six authors; the last two, later, to 326
sessions from worlds by eight authors, and reduced by a quarter. docs/EXPLAIN.md says what
each one gains.

leads       log of the blame for what the issue speaks of that reaches the event, relative to the mean of its
            sort: siblings had the same act without that effect
breaks      log of the blame for all findings of the session that reaches the event from later ones
near        nearness to a thing that the issue names, 0 to 1
before      the share of what the issue speaks of that happens after the event
then        the share that happens in the same step: a symptom is not a cause
late        log of its place within the first quarter, else 0: at the beginning much is new
odd         nats of the finding about the event that adds most to the score
odd near    nats of rarity near what the issue names, less with each hop
single      whether that finding is about one event rather than a series, less if chance may explain it
alike       log of the number of events of its kind and name, whoever did them: each kind of act is a
            suspect before each of its events
after it    nats by which what follows it about the same thing is rarer than usual (`transitions`)
before it   the same of what precedes it
"""
SYMPTOM_WEIGHTS: Final = {"words": 2.91, "names": 5.32, "oddness": 0.63, "rarity": 6.41, "moment": 3.75}
"""Fitted by maximum likelihood to the events that show the symptom of planted faults.

words       how many words of the text the event contains, relative to the event that contains most
names       how many of the names in the text it contains, relative in the same way
oddness     nats of the change that it shows
rarity      rarity of events of its sort, 0 to 1
moment      whether it happens at the moment that the text names
"""
EVEN: Final = 1.2
"""Constant of the logistic regression of confidence, fitted to first causes; fewer than one in ten healthy
sessions is to reach 0.5."""
OF_ODDS: Final = 0.53
"""Its weight of the logarithm of the odds of a cause's share."""
OF_SCORE: Final = 0.2
"""Its weight of the score."""

# Thresholds: how many observations tell something.

EACH: Final = 4
"""Events with a value that say what is usual beside it: the median of four resists one odd event."""
FEW: Final = 6
"""Events, things or distinct values of which a usual one can be told at all: one of six is the smallest
exception that is still below one in five."""
MIN_OBSERVED: Final = 8
"""Events of which a change can be told: four on either side."""
MIN_SEEN: Final = 12
"""Events to learn a relation from: one exception of 12 is below `SELDOM`."""
MIN_SERIES: Final = 20
"""Events of which a series can be told."""
MIN_DRIFT: Final = 16
"""Numbers of one agent of which a drift can be told: a quarter of them has to drift."""

# Thresholds: shares.

SELDOM: Final = 0.1
"""Largest share of exceptions to what is usual; the same share of a session at either end is cut off by the
recording."""
BY_CHANCE: Final = 0.25
"""Share of numbers that may end in zero: one in ten does by chance, and more in a small sample."""
SOME_SHARE: Final = 0.3
"""A field that fewer events have is no field of their sort, and a token that more events share links none."""
FOLLOWS: Final = 0.4
"""Share of events that another one follows, from which on it is a follow-up: an agent may have stopped doing
it for more than half of the session."""
MAY_BREAK: Final = 0.65
"""Maximum share of violations: a relation may be broken for good after a third of the session."""
COMMON: Final = 0.7
"""A value that a larger share of events has anyway shows no relation."""
MAY_STAY: Final = 0.95
"""Numbers that were fine for a twentieth of the session may have become round."""

# Thresholds: how many are a category, not a thing.

MIN_KEYS: Final = 3
"""Names that differ in one word, to be one name with a value."""
MAX_EACH: Final = 8
"""Events that a thing, or a value that is shared by chance, has in most cases."""
MAX_LEVELS: Final = 14
"""A field with more distinct values does not define groups."""
MAX_SELDOM: Final = 30
"""Events of one sort about one entity, beyond which none of them is a step of its life."""
MAX_ENTITIES: Final = 60
"""A field with more values names no entities."""
MAX_LIFE: Final = 80
"""A thing with more events is a category."""
MAX_HOLDERS: Final = 300
"""A token that more events share does not link them."""
MIN_VALUE: Final = 3
"""Shorter names in a text may be words."""
MIN_NUMBER: Final = 100
"""Smaller whole numbers may be anything."""

# Thresholds: nats.

MIN_NATS: Final = 1.0
"""Without a finding of so many nats nothing in a session is unusual."""
LEAST_CHANGE: Final = 2.0
"""The best change in a series without one has as many: such findings count as chance."""
NOISE: Final = 3.0
"""Nats of the best change in a series that has no real change."""
HALF: Final = 7.0
"""Nats that count half: the best of a thousand random tests has about as many."""
MAX_ODD: Final = 8.0
"""Cap on the nats of a symptom, and of a rare transition."""
MAX_NATS: Final = 10.0
"""Cap: ten nats are one chance in 20,000, and a session makes about as many tests."""
CAP: Final = 40.0
"""Cap on a finding's own nats, and half of it on those of numbers: more says nothing."""
FAR: Final = 8.0
"""Deviations in units of the median deviation; smaller ones are left to the scans of levels."""
SHORT_MS: Final = 0.5
"""Shorter durations are noise of the machine."""

# Thresholds: the way from an event to what the issue speaks of.

HOP: Final = 0.8
"""Factor on nearness for each hop from one event to another."""
LEAST_NEAR: Final = 0.08
"""Less nearness is none: 11 hops."""
PASSED_ON: Final = 0.9
"""Factor on the blame that an event passes on; 0.98 finds the same true events."""
MAX_BEFORE: Final = 12
"""Number of earlier linked events that receive blame; 1 or 40 finds the same true events."""
LEAST_BLAME: Final = 1e-4
"""Smaller blame is not followed further."""
MAX_HEARD: Final = 60
"""If more events than this match the text, none is used as a starting symptom."""
SLACK: Final = 2
"""Ticks by which a cause may come after the tick that a text names: people count from 0 or from 1."""
LEAST_CONFIDENCE: Final = 0.05
"""Lowest confidence, and the share reserved for causes that the session does not show."""
OTHER_MOMENT: Final = 0.5
"""Factor on the confidence of a cause that begins after the moment that the text names."""

# Limits of work.

MAX_ACTS: Final = 40_000
"""A larger session is read as a sample: it takes 0.1 ms of processor time to explain an event."""
SAMPLE: Final = 6_000
"""Size of the sample: 4 scans of 252,000 events take as long as to find and explain so many of them."""
MAX_STEPS: Final = 400
STEPS_OF_PLACE: Final = 120
MAX_SLICES: Final = 120
MAX_DEPTH: Final = 4
MAX_KEYS: Final = 40
MAX_ITEMS: Final = 6
MAX_TEXT: Final = 80
MAX_NAME: Final = 40
MAX_PARTS: Final = 4
MAX_GROUP_FIELDS: Final = 6
MAX_FIELDS: Final = 28
SOME: Final = 40
"""Relations are sought in a sample of this many pairs, and checked in all of them."""
MAX_BACK: Final = 4
"""Number of sorts of earlier events about the same thing."""
MAX_NEAR: Final = 1_500
MAX_FOUND: Final = 4
MAX_TOLD: Final = 12
MAX_LOOKED_AT: Final = 60
"""Number of likeliest events that may be part of a cause, or what an issue speaks of."""

# Limits of text.

LEADING: Final = 0.5
"""An event is what the issue speaks of if it is at least so likely, relative to the likeliest."""
MAX_KEPT: Final = 6
MAX_ACTS_OF_CAUSE: Final = 6
"""Maximum number of events in a cause: readers look at few."""
MAX_STEPS_TOLD: Final = 4
MAX_ALSO: Final = 2
MAX_LINES: Final = 6
MAX_VALUES: Final = 3
MAX_SHORT: Final = 48
LONG: Final = 16
"""A longer text without spaces is a code."""
