"""Pay for a firm of two departments over four months: clocks, sheets, tax, slips, files for the bank."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from Agent import PerformanceLogger, SystemLogger, setup_logging, shutdown_logging, trace_agent_action
from Agent.utils import AgentLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

MONTHS, WEEKS = 4, 4
DEPARTMENTS = ("packing", "assembly")
STAFF = 22
FULL_WEEK = 38.0
_PLAY = {"fault": ""}
NAMES = (
    "Adler Baum Cordes Diehl Ebert Fromm Gruber Hauser Imhof Jansen Keller Lorenz Maurer Nolte Otto Pohl "
    "Quandt Richter Sommer Thoma Ulrich Vogt"
).split()


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Bank:
    """The bank: it pays what it is sent, and knows a file by its key."""

    agent_id, agent_role = "bank", "bank"

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"{seed}/bank")
        self.keys: set[str] = set()
        self.accounts: dict[str, float] = {}
        self.slow: set[tuple[int, str]] = {(1, "packing"), (3, "assembly")}

    @trace_agent_action()
    def pay_file(self, key: str, month: int, lines: list[tuple[str, float]]) -> dict[str, Any]:
        """Pay all lines of a file, once for each key."""
        if key in self.keys:
            return {"paid": 0, "known": True}
        self.keys.add(key)
        for account, amount in lines:
            self.accounts[account] = round(self.accounts.get(account, 0.0) + amount, 2)
        return {"paid": len(lines), "known": False}


class Registry:
    """The staff records of the personnel office."""

    agent_id, agent_role = "personnel", "records"

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"{seed}/personnel")
        self.people: dict[str, dict[str, Any]] = {}
        for number in range(STAFF):
            key = f"e{number + 1:02d}"
            self.people[key] = {
                "name": NAMES[number] if key != "e17" else "Keller",
                "department": DEPARTMENTS[number % 2],
                "rate": round(self.rng.uniform(19, 31), 2),
                "tax_class": self.rng.choice([1, 1, 3, 4]),
                "account": f"acc-{4100 + number * 7}",
            }
        self.people["t01"] = {**self.people["e03"], "account": "acc-0000"}

    @trace_agent_action()
    def look_up(self, employee: str) -> dict[str, Any]:
        """Return the record of one employee."""
        return dict(self.people[employee])

    @trace_agent_action()
    def change(self, employee: str, field: str, value: Any) -> None:
        """Change one field, for example after a move."""
        self.people[employee][field] = value

    @trace_agent_action()
    def tidy(self, pairs: list[tuple[str, str]]) -> list[str]:
        """Join records that were opened twice for one person: same name and same date of birth."""
        joined = []
        for kept, other in pairs:
            self.people[other] = {**self.people[kept], "department": self.people[other]["department"]}
            joined.append(f"{other}->{kept}")
        return joined


class Terminal:
    """The clock at the gate of a department."""

    def __init__(self, department: str, seed: int) -> None:
        self.agent_id, self.agent_role = f"clock_{department}", "clock"
        self.rng = random.Random(f"{seed}/{self.agent_id}")
        self.logger = AgentLogger(self.agent_id, "clock")
        self.step = 0.1

    @trace_agent_action()
    def collect(self, employee: str, week: int) -> list[float]:
        """Return the hours of five days from the stamps of one employee."""
        days = [7.6 + self.rng.gauss(0, 0.35) for _ in range(5)]
        if self.rng.random() < 0.03:
            self.logger.warning("badge not read at the first try", {"employee": employee})
        if _with("quarters") and self.agent_id == "clock_packing" and week >= 11:
            return [float(int(hours) + (hours % 1 > 0.05)) for hours in days]
        return [round(hours, 1) for hours in days]


class Sheets:
    """The shared weekly sheets; whoever edits reads a sheet, and writes the whole of it back."""

    agent_id, agent_role = "sheets", "store"

    def __init__(self) -> None:
        self.sheets: dict[tuple[str, int], dict[str, float]] = {}

    @trace_agent_action()
    def read(self, employee: str, week: int) -> dict[str, float]:
        """Read a sheet."""
        return dict(self.sheets.get((employee, week), {}))

    @trace_agent_action()
    def write(self, employee: str, week: int, sheet: dict[str, float]) -> int:
        """Write a sheet."""
        self.sheets[employee, week] = dict(sheet)
        return len(sheet)


class Supervisor:
    """Adds leave and corrects forgotten stamps in the sheets of one department."""

    def __init__(self, department: str, sheets: Sheets, seed: int) -> None:
        self.agent_id, self.agent_role = f"supervisor_{department}", "supervisor"
        self.sheets = sheets
        self.rng = random.Random(f"{seed}/{self.agent_id}")

    @trace_agent_action()
    def enter(self, employee: str, week: int, days: list[float]) -> None:
        """Enter the stamped hours."""
        sheet = {
            "worked": round(sum(days), 1),
            "over": round(max(0.0, sum(days) - FULL_WEEK), 1),
            "leave": 0.0,
        }
        self.sheets.write(employee, week, sheet)

    @trace_agent_action()
    def correct(self, employee: str, week: int, sheet: dict[str, float], hours: float) -> None:
        """Add the hours of forgotten stamps."""
        self.sheets.write(employee, week, {**sheet, "worked": round(sheet["worked"] + hours, 1)})


class LeaveDesk:
    """Books leave and sickness into the sheets of all."""

    agent_id, agent_role = "leave_desk", "leave"

    def __init__(self, sheets: Sheets) -> None:
        self.sheets = sheets

    @trace_agent_action()
    def book(self, employee: str, week: int, sheet: dict[str, float], hours: float) -> None:
        """Book hours of leave."""
        self.sheets.write(employee, week, {**sheet, "leave": round(sheet["leave"] + hours, 1)})


class TaxService:
    """Computes the tax of a month."""

    agent_id, agent_role = "tax_service", "tax"

    @trace_agent_action()
    def deduct(self, gross: float, tax_class: int) -> float:
        """Return the tax on a gross sum."""
        return round(gross * {1: 0.24, 3: 0.14, 4: 0.22}[tax_class], 2)


class PayOffice:
    """Makes slips, sends files to the bank, and keeps the books."""

    agent_id, agent_role = "pay_office", "pay"

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.logger = AgentLogger("pay_office", "pay")
        self.files = 0

    @trace_agent_action()
    def make_slip(
        self, employee: str, month: int, hours: dict[str, float], rate: float, tax: float
    ) -> dict[str, Any]:
        """Make the slip of one employee."""
        gross = rate * (hours["paid"] + 0.25 * hours["over"])
        return {"employee": employee, "net": round(gross - tax, 2), "over": hours["over"]}

    @trace_agent_action()
    def submit(self, department: str, month: int, lines: list[tuple[str, float]], attempt: int = 1) -> str:
        """Send a file to the bank; after a time-out it is sent again under the same key."""
        if attempt == 1 or (_with("new_key") and month == 3):
            self.files += 1
        key = f"file-{self.files:03d}"
        self.bank.pay_file(key, month, lines)
        if attempt == 1 and (month, department) in self.bank.slow:
            self.logger.warning("no answer from the bank within 30 s, sent again", {"department": department})
            return self.submit(department, month, lines, attempt=2)
        return key


class Treasury:
    """Watches the firm's account and answers letters of the staff."""

    agent_id, agent_role = "treasury", "treasury"

    def __init__(self) -> None:
        self.metrics = PerformanceLogger("treasury", "treasury")
        self.paid: list[float] = []

    @trace_agent_action()
    def close_month(self, month: int, total: float, overtime: dict[str, float]) -> dict[str, Any]:
        """Close the books of a month."""
        self.paid.append(round(total, 2))
        for department, hours in overtime.items():
            self.metrics.log_metric(f"overtime_{department}", round(hours, 1), "h")
        return {"month": month, "total": round(total), "mean": round(sum(self.paid) / len(self.paid))}


class Employee:
    """One who looks at the account at the end of the month."""

    def __init__(self, key: str, account: str) -> None:
        self.agent_id, self.agent_role = f"staff_{key}", "staff"
        self.account = account
        self.months: list[float] = []

    @trace_agent_action()
    def check_account(self, arrived: float) -> str:
        """Compare what arrived with what usually does."""
        usual = sum(self.months) / len(self.months) if self.months else arrived
        self.months.append(arrived)
        if arrived < 0.3 * usual:
            return "nothing came"
        return (
            "less than usual" if arrived < 0.82 * usual else "more" if arrived > 1.5 * usual else "as usual"
        )


class Firm:
    """Everybody, and the four months."""

    def __init__(self, seed: int) -> None:
        self.bank, self.registry, self.sheets = Bank(seed), Registry(seed), Sheets()
        self.clocks = {name: Terminal(name, seed) for name in DEPARTMENTS}
        self.heads = {name: Supervisor(name, self.sheets, seed) for name in DEPARTMENTS}
        self.leave, self.tax, self.treasury = LeaveDesk(self.sheets), TaxService(), Treasury()
        self.office = PayOffice(self.bank)
        self.staff = {
            key: Employee(key, person["account"])
            for key, person in self.registry.people.items()
            if key[0] == "e"
        }
        self.life = random.Random(f"{seed}/life")
        self.system = SystemLogger("payroll")
        self.said: list[tuple[int, str, str]] = []
        self.overtime: list[dict[str, float]] = []
        self.short: list[str] = []

    def week(self, week: int) -> None:
        """Fill the sheets of a week."""
        for key in self.staff:
            person = self.registry.people[key]
            head = self.heads[person["department"]]
            days = self.clocks[person["department"]].collect(key, week)
            away = 1 if self.life.random() < 0.1 or (key == "e19" and week == 11) else 0
            forgot = 1 if self.life.random() < 0.06 or (key == "e19" and week == 11) else 0
            lost = 15.2 if (key, week) == ("e19", 11) else 7.6
            head.enter(key, week, days[: 5 - away - forgot] if lost < 10 else days[:2])
            self._mend(key, week, head, away * lost, forgot * 7.6)
        if week == 6:
            self.registry.change("e05", "account", self.registry.people["e05"]["account"])
        if week == 9:
            self.system.log_config("clock_firmware", old_value="3.1", new_value="3.2", data={"clocks": 2})
        if week == 11:
            pairs = [("e03", "t01")] + ([("e11", "e17")] if _with("joined") else [])
            self.registry.tidy(pairs)

    def _mend(self, key: str, week: int, head: Supervisor, away: float, forgot: float) -> None:
        steps: list[Callable[[dict[str, float]], None]] = []
        if away:
            steps.append(lambda sheet: self.leave.book(key, week, sheet, away))
        if forgot:
            steps.append(lambda sheet: head.correct(key, week, sheet, forgot))
        both = _with("overwritten") and (key, week) == ("e19", 11)
        early = self.sheets.read(key, week) if both else {}
        for step in steps:
            step(dict(early) if both else self.sheets.read(key, week))

    def close(self, month: int) -> None:
        """Pay a month."""
        files: dict[str, list[tuple[str, float]]] = {name: [] for name in DEPARTMENTS}
        overtime = dict.fromkeys(DEPARTMENTS, 0.0)
        before = dict(self.bank.accounts)
        for key in self.staff:
            record = self.registry.look_up(key)
            sheets = [self.sheets.sheets[key, month * WEEKS + week] for week in range(WEEKS)]
            paid = round(sum(sheet["worked"] + sheet["leave"] for sheet in sheets), 1)
            over = round(sum(sheet["over"] for sheet in sheets), 1)
            if paid < 4 * FULL_WEEK - 11:
                self.short.append(key)
            tax = self.tax.deduct(round(record["rate"] * paid, 2), record["tax_class"])
            hours = {"paid": paid, "over": over}
            slip = self.office.make_slip(key, month, hours, record["rate"], tax)
            overtime[record["department"]] += slip["over"]
            files[record["department"]].append((record["account"], slip["net"]))
        for department, lines in files.items():
            self.office.submit(department, month, lines)
        now = self.bank.accounts
        total = sum(now.values()) - sum(before.values())
        for key, one in self.staff.items():
            said = one.check_account(round(now.get(one.account, 0.0) - before.get(one.account, 0.0), 2))
            self.said.append((month, key, said))
        self.treasury.close_month(month, total, overtime)
        self.overtime.append(overtime)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play four months; return what staff and treasury noticed."""
    _PLAY["fault"] = fault
    setup_logging()
    firm = Firm(seed)
    for month in range(MONTHS):
        firm.system.log_phase(f"month {month + 1}")
        for week in range(WEEKS):
            firm.week(month * WEEKS + week)
        firm.close(month)
    shutdown_logging()
    return {
        "total": firm.treasury.paid,
        "overtime": [round(month["packing"], 1) for month in firm.overtime],
        "nothing": [key for _, key, said in firm.said if said == "nothing came"],
        "more": sum(said == "more" for _, _, said in firm.said),
        "short": firm.short,
    }


def _overwriting(events: Sequence[Event]) -> list[str]:
    return [
        event.id
        for event in events
        if event.act in {"book", "correct"}
        and event.args.get("employee") == "e19"
        and event.args["week"] == 11
    ][1:2]


FAULTS: dict[str, Fault] = {
    "quarters": Fault(
        "The overtime bill for packing has shot up this month though nobody there stayed longer than usual.",
        lambda faulty, healthy: faulty["overtime"][2] > healthy["overtime"][2] * 1.35,
        lambda events: pick(events, "clock_packing", "collect", where=lambda event: event.args["week"] >= 11),
    ),
    "overwritten": Fault(
        "staff_e19 was paid too few hours this month: two days are missing that were a holiday, she says.",
        lambda faulty, healthy: "e19" in faulty["short"] and "e19" not in healthy["short"],
        _overwriting,
    ),
    "joined": Fault(
        "One of our people got no wages at all this month, and a colleague got nearly double.",
        lambda faulty, healthy: bool(faulty["nothing"]) and not healthy["nothing"],
        lambda events: pick(events, "personnel", "tidy"),
    ),
    "new_key": Fault(
        "The firm's balance is deep in the red since the last payday, half of the people have "
        "twice their salary.",
        lambda faulty, healthy: faulty["total"][3] > healthy["total"][3] * 1.3,
        lambda events: pick(
            events,
            "pay_office",
            "submit",
            where=lambda event: event.args.get("attempt") == 2 and event.args["month"] == 3,
        ),
    ),
}
