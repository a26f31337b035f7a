"""The routes of DESIGN section 3, each readable top to bottom in one file."""
