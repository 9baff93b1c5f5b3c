"""Many nodes in one process on virtual time: the real sessions, tasks, wire and replicas.

`scenario` says what happens (read by `scenario_file`). `dataset` is everybody's data, `shards`
cuts it, `population` is who the nodes are, `central` what they are measured against. `engine` runs
the sessions on virtual time (`agenda`); what they publish goes through a `medium`, and
`switch_driver` moves nodes between groups; `state` is what these share. `member` is one node in a
group, `trainer` its training, `attacks` what hostile ones do, `faults` who comes and goes. `links`
is the network, `connections` who can ask whom, `simulated_requests` how. `ledger`,
`shared_replica` and `shared_medium` are for a thousand nodes. `records` is what is told of a run,
`run` puts all together. No trio, no threads, no clock: the same scenario and seed give the same
trace.
"""
