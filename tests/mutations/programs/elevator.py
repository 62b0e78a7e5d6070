"""An elevator: a state machine with an enum, a deque of calls, callbacks in its fields."""

from collections import deque
from enum import Enum, auto

from Agent import setup_logging, shutdown_logging, tick, trace_agent_action


class Door(Enum):
    OPEN = auto()
    SHUT = auto()


class Elevator:
    def __init__(self, floors=6):
        self.agent_id, self.agent_role = "lift-1", "elevator"
        self.floors = range(floors)
        self.floor = 0
        self.door = Door.SHUT
        self.calls = deque(maxlen=8)
        self.log = []
        self.listeners = {"arrived": [self.open_door, lambda floor: self.log.append(("at", floor))]}

    def open_door(self, floor):
        self.door = Door.OPEN

    def emit(self, event, value):
        for listener in self.listeners[event]:
            listener(value)

    @trace_agent_action()
    def call(self, floor):
        if floor not in self.floors:
            raise ValueError(f"there is no floor {floor}")
        self.calls.append(floor)
        return len(self.calls)

    @trace_agent_action()
    def move(self):
        if self.door is Door.OPEN:
            self.door = Door.SHUT
            return self.door
        if not self.calls:
            return None
        goal = self.calls[0]
        self.floor += (goal > self.floor) - (goal < self.floor)
        if self.floor == goal:
            self.calls.popleft()
            self.emit("arrived", goal)
        return self.floor


def build(spec):
    return Elevator()


def main():
    setup_logging()
    lift = Elevator()
    for number in range(24):
        with tick(number):
            if number % 5 == 0:
                lift.call((number * 3) % 6)
            lift.move()
    try:
        lift.call(9)
    except ValueError as error:
        print(error)
    shutdown_logging()
    print(lift.log)


if __name__ == "__main__":
    main()
