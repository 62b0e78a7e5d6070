"""The OpenAPI documents are complete: every route, parameter, answer and refusal is described."""

from __future__ import annotations

import pytest

from Agent.server import ServerSettings, make_app

ROLES = {"ingest": {"and_replay": True}, "query": {}, "replay": {}}


@pytest.fixture(scope="module", params=ROLES)
def document(request, tmp_path_factory) -> dict:
    url = str(tmp_path_factory.mktemp("openapi") / "service.db")
    made = []
    for role in {"ingest": ["ingest"], "replay": ["replay"]}.get(request.param, ["ingest", "query"]):
        made.append(make_app(ServerSettings(url, host="0.0.0.0"), role=role, **ROLES[role]))
    told = made[-1].openapi()
    for app in made:
        if app.state.replays is not None:
            app.state.replays.close()
        app.state.store.close()
    return told | {"role": request.param}


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", path, operation


def test_every_route_and_parameter_is_described(document):
    for name, _, operation in operations(document):
        assert operation["summary"] and operation["description"], name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description") or parameter["schema"].get("description"), (name, parameter)


def test_every_answer_has_a_schema_and_every_refusal_is_the_one_shape(document):
    for name, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)
            content = answer.get("content", {})
            assert content or status == "204", (name, status)
            if status >= "400":
                assert content["application/problem+json"]["schema"] == {
                    "$ref": "#/components/schemas/ErrorAnswer"
                }
            for kind, told in content.items():
                assert told["schema"] or kind == "text/plain", (name, status)


def test_every_body_has_a_schema(document):
    bodies = [
        operation["requestBody"] for _, _, operation in operations(document) if "requestBody" in operation
    ]
    assert len(bodies) == {"ingest": 5, "query": 0, "replay": 2}[document["role"]]
    assert all(told["schema"] for body in bodies for told in body["content"].values())


def test_beyond_loopback_each_route_names_the_scope_that_a_key_needs(document):
    for name, path, operation in operations(document):
        scope = "replay" if path.startswith("/api/") else document["role"]
        scope = "delete" if name.startswith("delete /v1/") else scope
        expected = None if path == "/health" else [{"key": [scope]}]
        assert operation.get("security") == expected, name
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_where_no_key_is_needed_none_is_asked_for(tmp_path):
    app = make_app(ServerSettings(str(tmp_path / "service.db")), role="ingest")
    assert all("security" not in operation for _, _, operation in operations(app.openapi()))
    app.state.store.close()
