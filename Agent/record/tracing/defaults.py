"""The defaults of a function's parameters, which a call uses without naming them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from Agent.event.limits_of_time import undisturbed
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import ALGORITHM, digest_json, leaves_out_secrets
from Agent.event.values.opaque import OpaqueKind
from Agent.event.values.reading import Hides, Reading


class Defaults:
    """The digests of a function's defaults, taken at its first call: the body may change a list or a dict.

    Code, secrets, ids and moments in them do not count, nor what cannot be seen.
    """

    __slots__ = ("_digests", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._digests: dict[str, str] | None = None

    def digest(self, arguments: Mapping[str, Any], hides: Hides | None) -> str:
        """Return the digest of the defaults that a call with these arguments uses; "" if it uses none.

        Args:
            arguments: by name of parameter.
            hides: finds secrets.
        """
        if self._digests is None:
            self._digests = _digests(self._function, hides)
        used = {name: digest for name, digest in self._digests.items() if name not in arguments}
        return f"{ALGORITHM}:{digest_json(used)}" if used else ""


@undisturbed()
def _digests(function: Callable[..., Any], hides: Hides | None) -> dict[str, str]:
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    digests = {}
    for name, value in defaults.items():
        content = content_of({name: value}, reading=Reading(hides=hides))
        text = content.without_code or content.without_made or content.text
        if content.kind is OpaqueKind.COMPARABLE and not leaves_out_secrets(content.text):
            digests[name] = text
    return digests
