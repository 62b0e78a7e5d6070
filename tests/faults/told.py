"""What a program says over its socket while it records, and the writing that all programs share.

One line each:
    R                                    ready: tracing may begin; the program waits for one byte
    P pid                                a further process writes along
    A|B|Q id process thread number       a call returned that id; "-" for none. What a kill may cost of those
                                         still held in memory is known of B, a buffered metric, and of Q, queued
    F json                               a step, an artifact or a checkpoint whose call returned (flight_programs)
    H process json                       `health()` at the end of the writing
    D process                            that process has made all its calls
"""

import json
import socket
import threading
from typing import Any

from Agent import AgentLogger, health

TEXTS = ["short", 'with "quotes" and\na new line', "ünïcödé " * 20, "x" * 700]


class Told:
    """The socket to whoever watches."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.mark = "A"
        """What an agent's acknowledgement begins with."""

    def say(self, text: str) -> None:
        self.channel.send(text.encode() + b"\n")

    def gate(self) -> None:
        """Wait until tracing has begun."""
        self.say("R")
        self.channel.recv(1)


def payload(process: int, thread: int, number: int) -> dict[str, Any]:
    """What event `number` of a thread holds; the oracle makes it again."""
    return {"process": process, "thread": thread, "number": number, "text": TEXTS[number % len(TEXTS)]}


def act(told: Told, logger: AgentLogger, process: int, thread: int, number: int) -> None:
    identity = logger.log_action("write", payload(process, thread, number))
    told.say(f"{told.mark} {identity or '-'} {process} {thread} {number}")


def write_many(told: Told, process: int, thread: int, start: int, count: int, agents: int = 1) -> None:
    """Every thread writes for agents of its own and, each third time, for one that all share."""
    own = [AgentLogger(f"agent_{process}_{thread}_{index}", "writer") for index in range(agents)]
    shared = AgentLogger("shared", "writer")
    for number in range(start, start + count):
        act(told, shared if number % 3 == 2 else own[number % agents], process, thread, number)


def in_threads(told: Told, process: int, threads: int, start: int, count: int, agents: int = 1) -> None:
    if threads == 1:
        write_many(told, process, 0, start, count, agents)
        return
    running = [
        threading.Thread(target=write_many, args=(told, process, number, start, count, agents))
        for number in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def end(told: Told, process: int = 0) -> None:
    told.say(f"H {process} {json.dumps(health())}")
    told.say(f"D {process}")
