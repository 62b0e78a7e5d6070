"""Locks, and what is built on them, inside values: made again where nobody held or waited for them."""

from __future__ import annotations

import asyncio
import queue
import threading

import orjson

from Agent.event.values.content_digest import content_of
from Agent.event.values.opaque import OpaqueKind, StandIn
from Agent.event.values.reading import Reading
from Agent.event.values.values import Unrestored, decode_value, to_json

KEEPING = Reading(keeps_content=True)


class Token:
    def __init__(self, lock):
        self.lock, self.done, self.callbacks = lock, False, []


def made_again(value):
    dumped = to_json(value, "", reading=KEEPING)
    missing = []
    restored = decode_value(orjson.loads(dumped.json), dumped.types, unrestored=missing)
    return restored, missing


def filled(made, *items):
    for item in items:
        made.put_nowait(item)
    return made


def test_a_lock_that_nobody_holds_is_made_again_wherever_it_stands():
    kinds = (
        threading.Lock, threading.RLock, threading.Condition, threading.Event, threading.Semaphore,
        asyncio.Lock, asyncio.Condition, asyncio.Event, asyncio.Semaphore, asyncio.BoundedSemaphore,
        queue.Queue, asyncio.Queue,
    )  # fmt: skip
    for kind in kinds:
        for place in (lambda lock: lock, lambda lock: [1, {"lock": lock}], Token, lambda lock: [Token(lock)]):
            value = place(kind())
            restored, missing = made_again(value)
            assert not missing, (kind, value, missing)
            assert content_of(restored).text == content_of(value).text, kind
    assert made_again(threading.Lock())[0].acquire(blocking=False)


def test_a_lock_that_somebody_holds_is_not_made_again():
    held, held_twice, awaited = threading.Lock(), threading.RLock(), asyncio.Lock()
    held.acquire()
    held_twice.acquire()
    asyncio.run(awaited.acquire())
    condition = threading.Condition(held)
    for lock in (held, held_twice, awaited, condition):
        for value in (lock, Token(lock), [lock]):
            restored, missing = made_again(value)
            assert missing, value
            found = restored[0] if type(restored) is list else restored
            assert type(found) is Unrestored


def test_counts_flags_and_items_come_back():
    event = asyncio.Event()
    event.set()
    values = {
        "slots": (asyncio.Semaphore(3), lambda made: made._value == 3),
        "flag": (event, lambda made: made.is_set()),
        "mail": (filled(asyncio.Queue(5), "a", "b"), lambda made: (made.get_nowait(), made.maxsize) == ("a", 5)),
        "jobs": (filled(queue.Queue(), 1, 2), lambda made: (made.get_nowait(), made.unfinished_tasks) == (1, 2)),
    }  # fmt: skip
    for name, (value, holds) in values.items():
        restored, missing = made_again(Token(value))
        assert not missing and holds(restored.lock), name


def test_a_lock_that_is_held_twice_in_a_value_is_not_made_twice():
    lock = threading.Lock()
    assert made_again([lock, lock])[1]
    made, missing = made_again(Token([lock, lock]))
    assert not missing
    assert made.lock[0] is made.lock[1]
    assert not made_again(Token([threading.Condition(lock)]))[1]


def test_who_waits_for_a_lock_is_no_part_of_its_content():
    async def contended():
        lock, mail = asyncio.Lock(), asyncio.Queue()
        before = content_of(lock).text
        await lock.acquire()
        tasks = [asyncio.create_task(each) for each in (lock.acquire(), mail.get())]
        await asyncio.sleep(0)
        during = to_json([mail], "").json, to_json([asyncio.Queue()], "").json
        mail.put_nowait(1)
        lock.release()
        await asyncio.gather(*tasks)
        lock.release()
        return before, content_of(lock).text, during

    before, after, (waited_for, fresh) = asyncio.run(contended())
    assert before == after
    assert waited_for == fresh


def test_a_callback_that_holds_a_task_is_restored_as_a_stand_in_where_one_is_given():
    async def linked():
        future = asyncio.get_running_loop().create_future()

        def cancel():
            future.cancel()

        token = Token(threading.Lock())
        token.callbacks.append(cancel)
        return to_json(token, "", reading=KEEPING)

    dumped, used, missing = asyncio.run(linked()), [], []
    value = orjson.loads(dumped.json)
    assert type(decode_value(value, dumped.types, unrestored=missing)) is Unrestored and missing
    codecs = {"stand_in": lambda name: StandIn(name, used.append)}
    token = decode_value(value, dumped.types, codecs=codecs)
    assert (type(token), len(token.callbacks)) == (Token, 1)
    token.callbacks[0]()
    assert used == ["builtins.function"]
    assert content_of(token).kind is OpaqueKind.UNSEEN
