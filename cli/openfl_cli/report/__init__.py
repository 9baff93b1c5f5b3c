"""Reports: a node, or finished runs of many nodes, as one file of HTML."""
