"""PKCS#11 lanes: one process, one session, one thread each. Imports nothing of the appliance."""
