"""Many nodes in one process on virtual time: the real sessions, tasks, wire and replicas.

`scenario` says what happens (data, read by `scenario_file`), `dealing` deals the data out, `links`
is the network, `attacks` what hostile members do. `world` is the discrete-event driver, `member`
one node in it, `ledger` and `shared_replica` what a thousand nodes share, `records` what is told of
a run. No trio, no threads, no clock: the same scenario and seed give the same trace.
"""
