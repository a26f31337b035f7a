"""SOAP as it is written by us: faults, in the version of the message they answer."""
