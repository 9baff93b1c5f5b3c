"""The `openfl-node` command: what people touch.

main.py        the parser, the one place where errors become lines and exit codes
commands/      one module a command: `add_arguments(parser)` and `run(arguments) -> int`
view.py        pure: NodeSnapshot -> rich renderable (used by `start` and `status`)
demo/          the pieces of `openfl-node demo`
options.py     home folder, configuration and other things that several commands share
text.py        small pure formatters; everything that came from the network is cleaned here

It stands on openfl.app, config and core, and `simulate` on openfl.simulation.

Rule of the house: nothing heavy (trio, numpy, libp2p, rich) is imported at the top of main.py,
options.py or a module of commands/, so that `openfl-node --help` answers at once.
"""
