"""Making tokens, keys and a demo PKI."""
