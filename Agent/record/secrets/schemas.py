"""Recognises schemas, which describe a secret without containing it."""

from __future__ import annotations

from typing import Any, Final

# A mapping with only these keys under the name of a secret is a schema, as in the parameters of a tool.
_SCHEMA_KEYS: Final = frozenset(
    "$ref $comment $id $schema additionalProperties allOf anyOf const default deprecated "
    "description dependencies enum example examples exclusiveMaximum exclusiveMinimum format "
    "items maxItems maxLength maxProperties maximum minItems minLength minProperties minimum "
    "multipleOf not nullable oneOf pattern properties readOnly required strict title type "
    "uniqueItems writeOnly".split()
)
_OPENAPI_TYPES: Final = frozenset({"apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"})
_OPENAPI_KEYS: Final = frozenset(
    "type description name in scheme bearerFormat flows openIdConnectUrl".split()
)
"""A security scheme of OpenAPI."""
_SCHEMA_MARKS: Final = frozenset("$ref allOf anyOf oneOf enum properties".split())
_SCHEMA_TYPES: Final = frozenset("string number integer boolean object array null".split())
SCHEMA_VALUES: Final = frozenset("const default example examples".split())
"""Keys of a schema that hold values."""


def is_schema(value: dict[str, Any]) -> bool:
    """Whether a mapping is a JSON schema, which describes a secret without containing it."""
    if str(value.get("type")) in _OPENAPI_TYPES and _OPENAPI_KEYS.issuperset(value):
        return True
    if not _SCHEMA_KEYS.issuperset(value):
        return False
    kind = value.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return all(one in _SCHEMA_TYPES for one in kinds) if kind else not _SCHEMA_MARKS.isdisjoint(value)
