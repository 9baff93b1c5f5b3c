"""The live view of `start` and `top`: keys, what they change, and what is drawn.

`keys`, `state`, `layout`, `panes`, `overlays` and `picture` are pure and see a node through
telemetry alone; `handle` is how the view asks a node, here or behind its control socket; `loop`
runs all of it on trio.
"""
