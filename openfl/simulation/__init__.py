"""Many nodes in one process on virtual time: the real sessions, tasks, wire and replicas.

`scenario` says what happens (data, read by `scenario_file`), `dealing` deals the ratings out,
`links` is the network, `connections` who can ask whom, `attacks` what hostile members do. `agenda`
is virtual time, `world` the driver of all sessions, `member` one node in it. `ledger` and
`shared_replica` are what a thousand nodes share, in `shared_world`. `records` is what is told of a
run, `run` puts all together. No trio, no threads, no clock: the same scenario and seed give the
same trace.
"""
