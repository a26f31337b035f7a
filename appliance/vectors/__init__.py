"""The stages a vector goes through, and how an assertion is filled."""
