"""Load tools: what the token can do, what the appliance makes of it."""
