"""Conventions as loaded from file, and the decisions taken against them."""
