"""Cases written without a look at the analyzer, and healthy sessions that somebody complains about all the same."""

from __future__ import annotations

from benchmarks.fault_set import auction, crew, epidemic, grid, ward
from benchmarks.fault_set.case import Case, digest

MODULES = (auction, crew, epidemic, grid, ward)
BLIND = tuple(
    sorted(
        (Case(kind, module.WORLD) for module in MODULES for kind in module.WORLD.complaints),
        key=lambda case: (case.kind, digest(case.name)),
    )
)
BLIND_HEALTHY = tuple(Case(kind, module.CALM) for module in MODULES for kind in module.CALM.complaints)
