"""Tables that grow row by row, for the terminal and as Markdown."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
  """The columns of a table.

  Attributes:
    columns: heading and width in characters of each; the first is aligned left, the others right.
  """

  columns: Sequence[tuple[str, int]]

  def header(self) -> str:
    """The line of headings."""
    return self.row([heading for heading, _ in self.columns])

  def row(self, cells: Sequence[str]) -> str:
    """One line; there may be fewer cells than columns."""
    widths = [width for _, width in self.columns]
    padded = [
      f'{cell:<{width}}' if index == 0 else f'{cell:>{width}}'
      for index, (cell, width) in enumerate(zip(cells, widths))
    ]
    return '  '.join(padded).rstrip()

  def markdown_header(self) -> str:
    """The lines of headings and of alignments."""
    headings = ' | '.join(heading for heading, _ in self.columns)
    return f'| {headings} |\n|{"|".join([":---", *["---:"] * (len(self.columns) - 1)])}|'

  def markdown_row(self, cells: Sequence[str]) -> str:
    """One line; missing cells at the end are empty."""
    return f'| {" | ".join([*cells, *[""] * (len(self.columns) - len(cells))])} |'
