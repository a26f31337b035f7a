"""Certificate paths, revocation and pins."""
