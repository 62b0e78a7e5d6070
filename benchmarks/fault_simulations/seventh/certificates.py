"""A month of a web host's certificates: scheduler, renewers, issuer, store and load balancers, on asyncio."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, trace_context
from benchmarks.fault_simulations.kit import Fault, pick

HOURS = 720
STEP = 6
LIFETIME = 400
SITES = [f"site-{n:02}" for n in range(1, 49)]


class Fleet:
    """The state of all certificates, and the queues of the renewers."""

    def __init__(self, seed: int, fault: str) -> None:
        """Give each site a certificate."""
        self.fault = fault
        self.rng = random.Random(f"cert{seed}")
        self.hour = 0
        self.expires = {site: 30 + (index * 37) % 390 for index, site in enumerate(SITES)}
        self.expires["site-17"] = self.expires["site-29"] = 116
        self.served = dict(self.expires)
        self.subject = {site: site for site in SITES}
        self.pending: set[str] = set()
        self.queues: dict[str, asyncio.Queue[str]] = {}
        self.signed_today = 0
        self.quota = 40
        self.margin = 72
        self.logs: dict[str, AgentLogger] = {}
        self.metrics = PerformanceLogger("edge")
        self.outcome: dict[str, Any] = {"expired": set(), "mismatch": set(), "renewed": 0}

    def log(self, name: str, role: str) -> AgentLogger:
        """Return the logger of an agent."""
        return self.logs.setdefault(name, AgentLogger(name, role))


def balancer_of(site: str) -> str:
    """Return the load balancer that serves a site."""
    return f"lb_{SITES.index(site) % 8 + 1}"


async def renewer(fleet: Fleet, name: str) -> None:
    """Renew what the scheduler orders, one after the other."""
    log, inbox = fleet.log(name, "renewer"), fleet.queues[name]
    while True:
        site = await inbox.get()
        log.log_action("take_order", {"site": site, "hour": fleet.hour})
        if fleet.fault == "hung_socket" and name == "renewer_3" and fleet.hour >= 210:
            await asyncio.Event().wait()
        with trace_context(log, "renewal"):
            try:
                await renew(fleet, log, site)
            except ConnectionError as error:
                log.warning(f"order of {site} put back: {error}")
                fleet.pending.discard(site)
        await asyncio.sleep(0)


async def renew(fleet: Fleet, log: AgentLogger, site: str) -> None:
    """Prove control of a site, get its certificate signed, store and install it."""
    dns, issuer = fleet.log("dns", "dns"), fleet.log("issuer", "issuer")
    dns.log_action("publish_record", {"site": site, "ttl": fleet.rng.choice([60, 120, 300])})
    await asyncio.sleep(0)
    if fleet.rng.random() < 0.06:
        dns.warning("record not visible yet, asked again", {"site": site})
    issuer.log_action("validate", {"site": site, "attempt": 1})
    if fleet.signed_today >= fleet.quota:
        raise ConnectionError("issuer says try later")
    fleet.signed_today += 1
    until = fleet.hour + LIFETIME + fleet.rng.randint(-6, 6)
    issuer.log_action("sign", {"site": site, "valid_until_hour": until})
    await asyncio.sleep(0)
    kept = site
    if fleet.fault == "crossed_keys" and site in {"site-17", "site-29"} and fleet.hour > 300:
        kept = {"site-17": "site-29", "site-29": "site-17"}[site]
    fleet.log("key_store", "store").log_action(
        "put", {"path": f"tls/{kept}", "subject": site, "hour": fleet.hour}
    )
    fleet.subject[kept] = site
    fleet.expires[site] = until
    edge = fleet.log(balancer_of(site), "balancer")
    sent = log.send(balancer_of(site), {"install": f"tls/{site}"})
    await asyncio.sleep(0)
    edge.receive(sent)
    edge.log_action("install", {"path": f"tls/{site}", "valid_until_hour": until})
    edge.log_action("reload", {"hour": fleet.hour, "connections": fleet.rng.randint(200, 900)})
    dns.log_action("remove_record", {"site": site})
    fleet.served[site] = until
    fleet.pending.discard(site)
    fleet.outcome["renewed"] += 1


def schedule(fleet: Fleet) -> None:
    """Order renewals of what expires soon."""
    scheduler = fleet.log("scheduler", "scheduler")
    margin = 3 if fleet.fault == "days_given" and fleet.hour >= 318 else fleet.margin
    due = [s for s in SITES if s not in fleet.pending and fleet.expires[s] - fleet.hour <= margin]
    scheduler.log_decision("plan", {"hour": fleet.hour, "margin": margin, "due": due})
    for site in due:
        name = f"renewer_{SITES.index(site) // 2 % 4 + 1}"
        fleet.pending.add(site)
        fleet.queues[name].put_nowait(site)
        scheduler.log_action("order", {"site": site, "renewer": name, "hour": fleet.hour})


def probe(fleet: Fleet) -> None:
    """Look at some sites from outside, as browsers do."""
    prober = fleet.log("prober", "monitor")
    for balancer in sorted({balancer_of(site) for site in SITES}):
        own = [site for site in SITES if balancer_of(site) == balancer]
        for site in own:
            if fleet.served[site] < fleet.hour:
                fleet.outcome["expired"].add(site)
            if fleet.subject[site] != site:
                fleet.outcome["mismatch"].add(site)
        site = own[fleet.hour // STEP % len(own)]
        if fleet.hour % 12 == 0:
            site = min(own, key=lambda name: fleet.served[name])
        answer = fleet.log(balancer, "balancer").log_action(
            "handshake",
            {"site": site, "certificate": fleet.subject[site], "hours_left": fleet.served[site] - fleet.hour},
        )
        fine = fleet.subject[site] == site and fleet.served[site] >= fleet.hour
        prober.log_action("probe", {"site": site, "hour": fleet.hour, "padlock": fine}, causes=answer)
        fleet.metrics.log_latency("handshake", round(fleet.rng.uniform(8, 40), 1))


async def month(fleet: Fleet) -> None:
    """Let the hours pass."""
    system = SystemLogger("host")
    names = [f"renewer_{n}" for n in range(1, 5)]
    fleet.queues = {name: asyncio.Queue() for name in names}
    workers = [asyncio.create_task(renewer(fleet, name)) for name in names]
    for hour in range(0, HOURS, STEP):
        fleet.hour = hour
        if hour % 24 == 0:
            fleet.signed_today = 0
            system.log_phase(f"day {hour // 24 + 1}")
        if hour in (54, 186, 300, 510):
            old, value = fleet.quota, {54: 45, 186: 38, 300: 42, 510: 40}[hour]
            if fleet.fault == "small_quota" and hour == 300:
                value = 1
            fleet.quota = value
            system.log_config("issuer.daily_quota", old, value, {"by": "account sync"})
        if hour in (96, 414):
            fleet.log("key_store", "store").log_action(
                "rotate_master", {"hour": hour, "generation": 1 + hour // 300}
            )
        probe(fleet)
        schedule(fleet)
        for _ in range(60):
            await asyncio.sleep(0)
    for worker in workers:
        worker.cancel()


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one month in steps of six hours."""
    fleet = Fleet(seed, fault)
    SystemLogger("host").log_simulation_start("month", {"sites": len(SITES), "hours": HOURS})
    asyncio.run(month(fleet))
    outcome = {
        key: sorted(value) if isinstance(value, set) else value for key, value in fleet.outcome.items()
    }
    SystemLogger("host").log_simulation_end("month", {"renewed": outcome["renewed"]})
    return outcome


def _more(key: str) -> Any:
    return lambda faulty, healthy: len(faulty[key]) > len(healthy[key])


FAULTS = {
    "hung_socket": Fault(
        "A whole group of our shops shows 'your connection is not private' since this morning, half a dozen or so, "
        "the others are fine. lb_5 and lb_6 were restarted, no change.",
        _more("expired"),
        lambda events: pick(
            events, "renewer_3", "take_order", where=lambda e: e.args["hour"] >= 210, first=1
        ),
    ),
    "small_quota": Fault(
        "More and more customers call about expired padlocks, it gets worse every day of this week.",
        _more("expired"),
        lambda events: [
            e.id for e in events if e.kind == "system.config" and e.record["extra"]["new_value"] == 1
        ],
    ),
    "days_given": Fault(
        "Sites drop out for some hours with an expired certificate and then come back by themselves. That never "
        "happened in the first half of the month.",
        _more("expired"),
        lambda events: pick(events, "scheduler", "plan", where=lambda e: e.args["margin"] == 3),
    ),
    "crossed_keys": Fault(
        "Browsers say the certificate of site-17 belongs to somebody else.",
        _more("mismatch"),
        lambda events: pick(
            events, "key_store", "put", where=lambda e: e.args["path"] != f"tls/{e.args['subject']}", first=2
        ),
    ),
}
