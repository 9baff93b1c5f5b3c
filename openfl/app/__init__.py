"""A configuration and a home folder become a running node; and what works without one."""
