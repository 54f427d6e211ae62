"""Makes a folder of scenes of your own from the JSON of PSG or LAION-SG; prepare it as such.

  python -m data_pipelines.convert_scenes --format=psg --annotations=psg.json \\
      --images=datasets/coco --output=datasets/psg
  python -m data_pipelines.convert_scenes --format=laion_sg --annotations=train=train.json \\
      --annotations=val=val.json --images=laion_images --output=datasets/laion_sg
  python -m data_pipelines.prepare --dataset=scenes --source=datasets/psg

The folder gets scenes.jsonl and a link to the images. Entries that are not usable are left out,
named and counted. PSG's objects get the masks of the PNGs where these are under --images.
LAION-SG is published without boxes: give each item a "bbox", [x0, y0, x1, y1] in pixels, first.
"""

import pathlib
from typing import Annotated, Literal

import pydantic

from data_pipelines import command_line
from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import Section

_SPLITS = ('train', 'val', 'test')


class ConvertScenesOptions(Section):
  """The flags."""

  format: Literal['psg', 'laion_sg'] = pydantic.Field(description='What wrote the annotations.')
  annotations: Annotated[tuple[str, ...], command_line.REPEATED] = pydantic.Field(
    description='[SPLIT=]FILE: a file, and which split all of its scenes are of: train, val or '
    "test. Without SPLIT they are of train, but PSG's test images of val and test. May be given "
    'several times.',
    min_length=1,
  )
  images: str = pydantic.Field(description='The directory that the paths in the files are in.')
  output: str = pydantic.Field(description='The folder to write.')
  num_val: int = pydantic.Field(
    1024, ge=1, description="How many of PSG's test images are of val, the first ones."
  )


def convert_scenes(options: ConvertScenesOptions):
  """Converts the files and says what has been written."""
  from data_pipelines.own_scenes import conversion  # takes a second

  files = []
  for text in options.annotations:
    split, equals, path = text.partition('=')
    if equals and split not in _SPLITS:
      raise UserError(
        f'--annotations={text}: the split is {split!r}, expected one of {", ".join(_SPLITS)}'
      )
    files.append(
      conversion.AnnotationFile(pathlib.Path(path), split)
      if equals
      else conversion.AnnotationFile(pathlib.Path(text))
    )
  counts = conversion.convert(
    next(one for one in conversion.FORMATS if one.name == options.format),
    files,
    pathlib.Path(options.images),
    pathlib.Path(options.output),
    num_val=options.num_val,
    listener=command_line.Console(),
  )
  splits = ', '.join(f'{split} {counts[split]}' for split in _SPLITS if counts[split])
  print(f'scenes: {splits}')
  print(
    f'prepare with: python -m data_pipelines.prepare --dataset=scenes --source={options.output}'
  )


def main():
  command_line.run(ConvertScenesOptions, convert_scenes, doc=__doc__)


if __name__ == '__main__':
  main()
