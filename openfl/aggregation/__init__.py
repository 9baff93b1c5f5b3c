"""The CRDT of contributions: registers, exact sums, rules, and the judgement of members."""
