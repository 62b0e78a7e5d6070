"""Faults planted in running simulations: does a user's complaint lead to the event that began it?

`cases.py` lists the cases, `case.py` says how one is drawn, the worlds are programs as users write them,
`scoring.py` asks the public API and counts. `python -m benchmarks.fault_set --half tuning|final|healthy`, and
`blind|blind-healthy` (`blind_cases.py`): five further worlds, written when the final half had been scored.
`second-blind|second-blind-healthy` (`second_blind_cases.py`): four more, whose authors saw no score either.
`third-blind|third-blind-healthy` (`third_blind_cases.py`): four more again, written in the same way.
"""
