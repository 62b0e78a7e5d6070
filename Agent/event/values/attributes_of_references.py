"""The plain attributes of an object that is recorded as a reference, which a replay compares in arguments."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson

from Agent.event.classes import MOST_CLASSES
from Agent.event.script_names import imported
from Agent.event.values.codecs import ClassPlan, plan_attributes
from Agent.event.values.digest import ALGORITHM, HIDING, digest_bytes
from Agent.event.values.opaque import Content, OpaqueKind
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, all_scalars, write_json
from Agent.event.values.reading import Hides, Reading, is_secret


def with_own(value: object, plan: ClassPlan, content: Content, reading: Reading) -> Content:
    """Add a digest of the object's plain attributes to an environment reference passed in a call."""
    if content.kind is not OpaqueKind.REFERENCE or reading.owner is not None:
        return content
    own = {
        name: item
        for name, item in plan_attributes(value, plan).items()
        if type(item) in SCALARS or (type(item) is tuple and all_scalars(item))
    }
    hides, algorithm, data = reading.hides, ALGORITHM, b""
    with suppress(Exception):  # a secret may not be JSON
        data = _json_of_own(own)
    digest = digest_bytes(imported(data)) if data else ""
    if not data or not (hides is None or (hides, digest) in _without_secrets or hides.is_harmless(own, data)):
        secret = {name for name, item in own.items() if hides is not None and is_secret(name, item, hides)}
        if secret or not data:
            own = {name: own[name] for name in own.keys() - secret}
            algorithm, digest = ALGORITHM + HIDING * bool(secret), digest_bytes(imported(_json_of_own(own)))
        elif len(_without_secrets) < MOST_CLASSES:
            _without_secrets.add((hides, digest))
        else:
            _without_secrets.clear()
    return content._replace(text=f"{content.text}{WITH_OWN}{algorithm}:{digest}")


def _json_of_own(own: dict[str, Any]) -> bytes:
    return write_json(own, DUMP_OPTIONS | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


_without_secrets: set[tuple[Hides | None, str]] = set()
"""Digests of attributes that were searched for secrets without finding any; agents often share one world."""


WITH_OWN = " with "
"""Separates the class of an environment from the digest of its plain attributes."""
