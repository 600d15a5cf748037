"""Hosts that lend a checkpoint: the only package that may import a WebUI."""
