"""Faults planted in running simulations: does a user's complaint lead to the event that began it?

`python -m benchmarks.fault_set` scores all cases, with `--healthy` the same simulations without a fault. `cases.py`
lists them, `case.py` says how one is drawn, the worlds are programs as users write them, `scoring.py` asks the
public API and counts. The ranking has been fitted with every one of these cases in sight: they show what
becomes worse, not how well it does on a world that it has not seen.
"""
