"""Continue a recorded run from a point: unchanged (resume), changed (fork), or with many changes (sweep).

Experiments do so with and without an event that may be a cause (`interventions.py`).
"""
