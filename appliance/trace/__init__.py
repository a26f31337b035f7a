"""The legal record of every vector created, received or refused."""
