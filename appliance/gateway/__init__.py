"""The SOAP gateway in line: messages on their way to partners get their vector, messages from partners are judged."""
