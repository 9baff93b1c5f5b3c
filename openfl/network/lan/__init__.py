"""The local network: nodes found by multicast DNS, ports opened on the router by UPnP."""
