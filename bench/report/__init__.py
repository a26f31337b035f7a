"""One command that runs the set of measurements and states them: JSON, a table, and a page with plots.

`model` is what a report states, `ground` what sections measure on, `sections` which there are; `tokens`, `issuing`, `overload`, `simulated`,
`inline`, `growth` and `beside` measure; `table`, `svg` and `page` render, from the model alone; `command` is `python -m bench report`.
"""

from bench.report.command import add_arguments, run

__all__ = ["add_arguments", "run"]
