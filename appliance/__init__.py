"""InterOPS signing appliance: issues, verifies and traces identification vectors with keys that stay in an HSM."""
