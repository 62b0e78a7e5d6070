"""A third set written without a look at the analyzer: four more worlds, and healthy sessions of each."""

from __future__ import annotations

from benchmarks.fault_set import build_farm, bureau, harbour, kitchen
from benchmarks.fault_set.case import Case, digest

MODULES = (build_farm, bureau, harbour, kitchen)
THIRD_BLIND = tuple(
    sorted(
        (Case(kind, module.WORLD) for module in MODULES for kind in module.WORLD.complaints),
        key=lambda case: (case.kind, digest(case.name)),
    )
)
THIRD_BLIND_HEALTHY = tuple(Case(kind, module.CALM) for module in MODULES for kind in module.CALM.complaints)
