"""Sessions of known truth: a valid tree of any size, made from a seed, with planted faults and their causes."""

from .faults import FAULTS, Fault
from .generator import make_session
from .value import Truth

__all__ = ["FAULTS", "Fault", "make_session", "Truth"]
