"""A sheet of the storybook's pictures."""

from PIL import Image

from data_pipelines.storybook.scenes import draw_scene

_GAP = 4  # pixels between pictures and around them


def draw_sheet(*, seed: int, num_scenes: int, size: int, num_columns: int = 8) -> Image.Image:
  """The first pictures of a storybook in rows.

  Args:
    seed: of the storybook.
    num_scenes: number of pictures.
    size: side of a picture in pixels.
    num_columns: pictures in a row.
  """
  pitch = size + _GAP
  num_rows = -(-num_scenes // num_columns)
  sheet = Image.new('RGB', (num_columns * pitch + _GAP, num_rows * pitch + _GAP), 'white')
  for index in range(num_scenes):
    row, column = divmod(index, num_columns)
    picture = Image.fromarray(draw_scene(seed, index, size).image)
    sheet.paste(picture, (_GAP + column * pitch, _GAP + row * pitch))
  return sheet
