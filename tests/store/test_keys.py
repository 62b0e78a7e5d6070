"""Keys: shown once, stored as a digest, good for their scopes and project until they are revoked."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from Agent.errors import InputError, UsageError
from Agent.store import Scope, open_store


@pytest.fixture
def store(database_url):
    with open_store(database_url, role="admin") as opened:
        yield opened


def test_a_key_is_good_for_its_project_and_scopes(store):
    issued = store.issue_key("shop", [Scope.INGEST], label="the shop's agents")
    assert re.fullmatch(r"atk_[a-z2-9]{8}_[A-Za-z0-9_-]{43}", issued.token)
    grant = store.authenticate(issued.token)
    assert (grant.project.name, grant.scopes) == ("shop", {Scope.INGEST})
    assert not grant.project.content_allowed


def test_of_the_secret_nothing_is_stored(store):
    issued = store.issue_key("shop", [Scope.INGEST])
    with store.engine.connect() as connection:
        rows = repr(connection.execute(text("SELECT * FROM api_keys")).all())
    secret = issued.token.split("_", 2)[2]
    assert issued.key.key_id in rows
    assert secret not in rows
    assert secret[:10] not in rows


def test_what_is_no_key_opens_nothing(store):
    token = store.issue_key("shop", [Scope.QUERY]).token
    other = store.issue_key("shop", [Scope.QUERY]).token
    mixed = token[:13] + other[13:]
    for wrong in (
        "",
        "atk_",
        token[:-1],
        token + "x",
        token.upper(),
        mixed,
        "atk_zzzzzzzz_" + "a" * 43,
        "\0",
        "'; --",
    ):
        assert store.authenticate(wrong) is None, wrong
    assert store.authenticate(token) is not None


def test_a_revoked_key_opens_nothing_from_then_on(store):
    kept, gone = (store.issue_key("shop", [Scope.QUERY]) for _ in range(2))
    revoked = store.revoke_key(gone.key.key_id)
    assert revoked.revoked_us is not None
    assert store.revoke_key(gone.token).revoked_us == revoked.revoked_us
    assert store.authenticate(gone.token) is None
    assert store.authenticate(kept.token) is not None
    assert [
        key.revoked_us is None
        for key in sorted(store.list_keys(), key=lambda key: key.key_id == gone.key.key_id)
    ] == [True, False]


def test_mistakes_with_keys_are_told(store):
    with pytest.raises(InputError, match="no key with that id"):
        store.revoke_key("nosuchid")
    with pytest.raises(UsageError, match="needs a scope"):
        store.issue_key("shop", [])
    for name in ("", "a/b", "../x", "x" * 65, "é", "-x", "a\n"):
        with pytest.raises(UsageError, match="name of a project"):
            store.issue_key(name, [Scope.QUERY])
    with pytest.raises(UsageError, match="label"):
        store.issue_key("shop", [Scope.QUERY], label="x\x1b[31m")


def test_content_is_a_matter_of_the_project_and_off_until_it_is_asked_for(store):
    token = store.issue_key("shop", [Scope.INGEST]).token
    store.set_content("shop", allowed=True)
    assert store.authenticate(token).project.content_allowed
    store.set_content("shop", allowed=False)
    assert not store.authenticate(token).project.content_allowed
    with pytest.raises(InputError, match="no project"):
        store.set_content("nosuch", allowed=True)


def test_those_who_make_a_project_at_the_same_time_make_one(store):
    def made(number: int) -> str:
        return store.issue_key(f"shop-{number // 8}", [Scope.QUERY]).key.project

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(made, range(80))) == [f"shop-{number // 8}" for number in range(80)]
    assert len(store.list_projects()) == 11  # and the default one
