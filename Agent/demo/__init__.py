"""The demo: a content platform whose creators learn, and an example of how your own agents look when traced.

Read `creators.py` first (an agent, and a tool that sometimes fails), then `platform.py` (the audience and the
loop that runs everything) and `targets.py` (how a replay builds one agent, or all of them).
"""
