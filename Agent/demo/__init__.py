"""The demo: a content platform whose creators learn, and the model of how your own agents look when traced.

Read `creators.py` first (an agent, and the tool that fails it now and then), then `platform.py` (the audience
and the world that replays them) and `targets.py` (how replay builds one agent again).
"""
