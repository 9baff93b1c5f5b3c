"""How long a test waits for what must happen, and the rules that keep verdicts off the clock.

A test's verdict never depends on how fast the machine is. So, in this order of preference:

1. Time is virtual (`autojump_clock`, `SimulatedNetwork`, an injected `now`): then any number of
   seconds may be asserted.
2. Otherwise wait for the event itself, polling it or awaiting it, with `PATIENCE_SECONDS` as the
   ceiling. That is no measurement: only a hang gets there.
3. That something does *not* happen is asserted after a later event that the same party handles in
   order (a marker sent after it, an answer, a count), not after a sleep.
4. An attacker goes on until it has had its effect; it neither stops at the first refusal nor at the
   end of a number of seconds.
5. A deadline of the node that a test wants to see pass is made short (`monkeypatch`) for that step
   alone; one that must not pass is not made shorter than in production.
6. How long, how much CPU: that is measured by `benchmarks/`. A test keeps what is certain: counts,
   bounds ("at most N"), and that the node is at rest again.
"""

from __future__ import annotations

PATIENCE_SECONDS = 240.0
"""Twenty times what the slowest of these waits takes on two busy cores, and less than pytest's own
`timeout`, which a hang must not reach first."""
