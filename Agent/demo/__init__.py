"""The demo: a content platform whose creators learn, and the model of how your own agents look when traced.

Read `creators.py` first (an agent), then `trends.py` (a tool that fails now and then), `audience.py`,
`cascades.py`, `platform.py` (the world that replays them), `targets.py` (how replay builds one agent again).
"""
