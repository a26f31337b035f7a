"""Signing jobs on their way to the lanes: the queue of a worker, its clients of lanes, and the keyring."""
