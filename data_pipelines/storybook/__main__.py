"""Draws a sheet of the storybook's pictures.

python -m data_pipelines.storybook --output=sheet.png
"""

import pydantic

from data_pipelines import command_line
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section
from data_pipelines.storybook.options import LEAST_SIZE


class SheetOptions(Section):
  """The flags."""

  output: str = pydantic.Field('sheet.png', description='Where to write the sheet.')
  num_scenes: PositiveInt = pydantic.Field(48, description='How many pictures.')
  seed: NonNegativeInt = pydantic.Field(0, description='Of the storybook.')
  size: int = pydantic.Field(64, ge=LEAST_SIZE, description='Side of a picture in pixels.')


def draw(options: SheetOptions):
  """Writes the sheet."""
  from data_pipelines.drawing import sheets
  from data_pipelines.storybook.sheet import draw_sheet

  sheet = draw_sheet(seed=options.seed, num_scenes=options.num_scenes, size=options.size)
  sheets.save(sheet, options.output)
  print(f'{options.output}: {options.num_scenes} pictures')


def main():
  command_line.run(SheetOptions, draw, doc=__doc__)


if __name__ == '__main__':
  main()
