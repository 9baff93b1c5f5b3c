"""From a configuration and a home folder to a running node, and what works without one."""
