"""The real network: py-libp2p, and what works around its `defects`. `network` joins the parts."""
