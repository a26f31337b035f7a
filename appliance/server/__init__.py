"""Sockets, admission and routes: the only part that knows HTTP."""
