"""Queues that agents hold: what the program puts in and takes out between actions is done again."""

from __future__ import annotations

import pytest

ROOMS = """
import asyncio
from dataclasses import dataclass

KEPT = []

@dataclass(frozen=True)
class Post:
    author: str
    text: str

class Member:
    def __init__(self, name, members):
        self.agent_id, self.members, self.inbox, self.seen = name, members, QUEUE, 0

    @trace_agent_action
    async def read(self, posts):
        self.seen += len(posts)
        return [post.text for post in posts]

    @trace_agent_action
    def say(self, text):
        for member in self.members.values():
            if member is not self:
                member.inbox.put_nowait(Post(self.agent_id, text))
        return self.inbox.qsize()

    def drain(self):
        posts = []
        while not self.inbox.empty():
            posts.append(self.inbox.get_nowait())
            self.inbox.task_done()
        return posts

def room():
    members = {}
    for name in "abc":
        members[name] = Member(name, members)
    return members

def build(spec):
    return room()

def main():
    async def life(member):
        for turn in range(6):
            await asyncio.sleep(0)
            posts = member.drain() if turn % 2 else []
            await member.read(posts)
            member.say(f"{turn} from {member.agent_id}")

    async def day():
        members = room()
        KEPT.append(members)
        await asyncio.gather(*map(life, members.values()))
    asyncio.run(day())
"""

QUEUES = [
    f"{module}.{name}()" for module in ("asyncio", "__import__('queue')") for name in ("Queue", "LifoQueue")
]


def test_what_is_taken_from_queues_between_actions_is_taken_again(toy):
    for queue in QUEUES:
        report = toy.record(ROOMS.replace("QUEUE", queue)).replay("last")
        assert (report.verdict, report.proof["counts"]["driven"]) == ("IDENTICAL", 36), str(report)
        assert "inbox" in str(report), str(report)
    report = toy.change("self.seen += len(posts)", "self.seen += len(posts) or (self.seen == 6)").replay(
        "last"
    )
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.seen"), str(report)


WORKERS = """
import asyncio
from dataclasses import dataclass

KEPT = []

@dataclass(order=True)
class Job:
    priority: int
    number: int
    attempts: int = 0

class Worker:
    def __init__(self, name, jobs):
        self.agent_id, self.jobs, self.done, self.tired = name, jobs, [], 0

    @trace_agent_action
    def claim(self, job):
        job.attempts += 1
        return job.attempts + self.tired

    @trace_agent_action
    async def execute(self, job, steps):
        for _ in range(steps):
            self.tired += 1
            await asyncio.sleep(0)
        return self.tired

    @trace_agent_action
    def finish(self, job):
        if job.attempts < 2 and job.number % 3 == 0:
            self.jobs.put_nowait(job)
            return False
        self.done.append(job.number)
        return True

    async def run(self):
        while True:
            job = await self.jobs.get()
            await self.execute(job, self.claim(job))
            self.finish(job)
            self.jobs.task_done()
            self.tired //= 2

def team():
    jobs = asyncio.PriorityQueue()
    return {name: Worker(name, jobs) for name in "abc"}, jobs

def build(spec):
    workers = team()[0]
    return workers if spec.agent_id is None else workers[spec.agent_id]

def main():
    async def day():
        workers, jobs = team()
        KEPT.append(workers)
        for number in range(40):
            jobs.put_nowait(Job(number % 4, number))
        tasks = [asyncio.create_task(each.run()) for each in workers.values()]
        await jobs.join()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    asyncio.run(day())
"""


@pytest.mark.integration
def test_workers_that_share_a_queue_which_the_program_fills_are_identical(toy):
    report = toy.record(WORKERS).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert toy.replay("last/b").verdict == "IDENTICAL"
    report = toy.change("self.done.append(job.number)", "self.done.append(job.number % 9)").replay("last")
    assert (report.verdict, report.divergence.action) == ("DIVERGED", "finish"), str(report)


KITCHEN = """
import asyncio

KEPT = []

class Cook:
    def __init__(self, name):
        self.agent_id, self.inbox, self.cooked = name, asyncio.Queue(), []

    @trace_agent_action
    async def cook(self, dish):
        await asyncio.sleep(0)
        self.cooked.append(dish)
        return len(self.cooked)

    async def run(self):
        while True:
            dish, done = await self.inbox.get()
            done.set_result(await self.cook(dish))

def build(spec):
    return {name: Cook(name) for name in "ab"}

def main():
    async def evening():
        cooks = build(None)
        KEPT.append(cooks)
        tasks = [asyncio.create_task(each.run()) for each in cooks.values()]
        for number in range(8):
            asked = []
            for cook in cooks.values():
                for part in range(2):
                    done = asyncio.get_running_loop().create_future()
                    cook.inbox.put_nowait((number, done))
                    asked.append(done)
            await asyncio.gather(*asked)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    asyncio.run(evening())
"""


@pytest.mark.further
def test_a_queue_of_what_cannot_be_restored_is_left_as_it_is(toy):
    report = toy.record(KITCHEN).replay("last")
    assert (report.verdict, report.proof["counts"]["driven"]) == ("IDENTICAL", 32), str(report)
    report = toy.change("self.cooked.append(dish)", "self.cooked.append(dish % 5)").replay("last")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.cooked"), str(report)
    report = toy.write(KITCHEN).change("self.cooked.append(dish)", "self.cooked += [dish]").replay("last")
    assert report.verdict == "IDENTICAL", str(report)


DESK = """
import asyncio

KEPT = []

class Desk:
    agent_id = "desk"

    def __init__(self):
        self.jobs, self.done = QUEUE, 0

    @trace_agent_action
    def work(self, job):
        self.jobs.put_nowait(job)
        self.jobs.put_nowait(-job)
        self.jobs.get_nowait()
        self.jobs.task_done()
        self.done += 1
        return self.done

def build(spec):
    return Desk()

def main():
    desk = Desk()
    KEPT.append(desk)
    for job in range(4):
        BESIDE
        desk.work(job)
"""


@pytest.mark.further
@pytest.mark.parametrize("beside", ["pass", "job and desk.jobs.task_done()"])
def test_how_many_tasks_of_a_queue_are_unfinished_is_part_of_it(toy, beside):
    for queue in QUEUES if beside == "pass" else QUEUES[:1]:
        toy.record(DESK.replace("QUEUE", queue).replace("BESIDE", beside))
        assert toy.replay("last", program=False).verdict == "IDENTICAL"
        report = toy.change("self.done += 1", "self.done = 1 + self.done").replay("last", program=False)
        assert report.verdict == "IDENTICAL" and report.changed_code, str(report)
        if beside == "pass":
            report = toy.change("        self.jobs.task_done()", "").replay("last", program=False)
            assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
            assert report.divergence.where == "field jobs['unfinished_tasks']"
