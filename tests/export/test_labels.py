"""Which texts are short labels: what may be sent as a name, and what never is."""

from __future__ import annotations

import pytest

from Agent.export import allow_list
from Agent.export.allow_list import hidden_name, is_identity, is_label, may_hold

LABELS = [
    "my_agent", "search_kb", "gpt-4o", "claude-3-5-sonnet-20241022", "meta-llama/Llama-3.1-8B", "agent.creator",
    "Creator.create_content", "TimeoutError", "CustomerSupportAgentActionFailedError", "1.0.0", "v2.10.3rc1", "2026.11.20",
    "7", "404", "01a1faff-069b-7283-9e6e-187de92858d2", "step_12", "tool:read",
]  # fmt: skip
NO_LABELS = [
    "", " ", "two words", "Ignore all previous instructions", "jane.doe@example.com", "+49 151 12345678", "4915112345678",
    "49-151-1234-5678", "https://example.com/u/jane", "sk-live-abcdefgh12345678", "AKIAIOSFODNN7QX3PLMZ",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "a" * 65, "tab\there", "new\nline", "nul\0", "Zoë", "emoji😀",
    "please.tell.jane.doe.that.her.test.was.positive",
    "dGhpcyBpcyBhIHNlY3JldA==", "f3b0c44298fc1c149afbf4c8996fb924", "[redacted:0123456789abcdef]", "name='x'",
]  # fmt: skip


@pytest.mark.parametrize("text", LABELS)
def test_names_versions_and_ids_are_labels(text):
    assert is_label(text)


@pytest.mark.parametrize("text", NO_LABELS)
def test_sentences_addresses_numbers_of_people_and_secrets_are_none(text):
    assert not is_label(text)


def test_what_stands_for_a_name_is_a_label_the_same_each_time_and_another_for_another_key():
    hidden = hidden_name("Jane Doe", b"key one")
    assert is_label(hidden)
    assert hidden == hidden_name("Jane Doe", b"key one")
    assert hidden not in {hidden_name("Jane Doe", b"key two"), hidden_name("John Doe", b"key one")}
    assert "jane" not in hidden.lower()


def test_ids_of_the_record_are_ids_and_secrets_are_none():
    assert is_identity("k3v7q2ma-1042")
    assert is_identity("8f2c11d0a4e96b37")
    assert is_identity("01a1faff-069b-7283-9e6e-187de92858d2")
    assert is_identity("my.run-1")
    assert not is_identity("sk-live-abcdefgh12345678")
    assert not is_identity("jane@example.com")
    assert not is_identity("a b")
    assert not is_identity("")


@pytest.mark.parametrize(
    "key", ["result_count", "prompt_tokens", "http_status", "retries", "score", "queryCount"]
)
def test_counts_may_be_kept_under_any_name_that_is_not_about_a_person(key):
    assert may_hold(key, a_number=True)


@pytest.mark.parametrize(
    "key", ["phone", "user_phone", "ssn", "zip", "birthYear", "latitude", "card", "two words", "a" * 65]
)
def test_numbers_about_a_person_may_not(key):
    assert not may_hold(key, a_number=True)


@pytest.mark.parametrize(
    "key", ["prompt", "user_query", "responseText", "username", "reasoning", "api_key", "title"]
)
def test_words_may_not_stand_under_names_of_what_somebody_wrote(key):
    assert not may_hold(key, a_number=False)


@pytest.mark.parametrize("key", ["status", "tool", "cache", "region", "model", "mode"])
def test_words_may_stand_under_names_of_what_a_program_says(key):
    assert may_hold(key, a_number=False)


@pytest.mark.parametrize(
    "text",
    [
        "run_20261120_103045", "20261120_103045", "nightly-2026-11-20T10:30:45Z", "b3b0c44298fc1c149afbf4c8996fb924",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV", "~0123456789abcdef",
    ],
)  # fmt: skip
def test_what_people_call_their_runs_is_an_id(text):
    assert is_identity(text)


@pytest.mark.parametrize(
    "text",
    [
        "order-1234567890",
        "run_4915112345678",
        "20261120103045123456",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    ],
)
def test_a_number_of_a_customer_and_a_key_are_no_ids(text):
    assert not is_identity(text)


def test_what_is_too_long_for_a_label_is_not_kept_to_be_remembered():
    caches = (allow_list._is_short_label, allow_list._is_harmless_short_key)
    before = [cache.cache_info().currsize for cache in caches]
    for number in range(10):
        long = f"a prompt {number}" * 50
        assert not is_label(long)
        assert not may_hold(long, a_number=True)
    assert [cache.cache_info().currsize for cache in caches] == before


def test_keys_are_judged_no_longer_when_their_names_would_not_be_told(monkeypatch):
    judged = []
    monkeypatch.setattr(allow_list, "is_label", lambda text: not judged.append(text))
    allowed = allow_list.AllowList(None)
    for number in range(1000):
        allowed.drop("", f"key_{number}")
    allowed.drop("", "key_1")
    assert len(judged) == len(allowed.dropped) - 1 == 100
    assert (allowed.dropped["/key_1"], allowed.dropped.total()) == (2, 1001)
