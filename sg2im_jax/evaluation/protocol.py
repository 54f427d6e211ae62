"""What an evaluation does; scores compare only where protocol and backbone are the same."""

import os
import pathlib
from typing import Literal

from pydantic import Field

from data_pipelines.scene_graphs.errors import UserError
from data_pipelines.settings.section import NonNegativeInt, PositiveInt, Section, Seed

Layout = Literal['predicted', 'ground_truth']


class ProtocolOptions(Section):
  """The choices that a `Protocol` and the flags of the command have in common."""

  split: str = Field(
    'val', description='Whose graphs and images: train, val or test; val+test for both.'
  )
  num_graphs: PositiveInt | None = Field(
    None, description='How many graphs, from the start of the split; by default all.'
  )
  samples_per_graph: PositiveInt = Field(5, description='Pictures of each graph.')
  boxes: Layout = Field('predicted', description='Where to paint objects.')
  masks: Layout = Field('predicted', description='In what shape to paint objects.')
  stretch: bool | None = Field(
    None,
    description='Spread each picture over its own darkest to brightest value, as the published '
    'sampling does. That changes every score of pictures. By default what the config says, see '
    'sample.',
  )
  num_edited: NonNegativeInt = Field(
    100,
    description='How many scenes, from the first one evaluated, a token model changes, to score '
    'its edits; none if fewer than 2.',
  )
  scene_crops: NonNegativeInt = Field(
    1,
    description='Objects of each graph, chosen by the seed, that SceneFID compares: cut out of the '
    'real image and of the first sample by the boxes of each; 0 for none.',
  )
  num_splits: PositiveInt = Field(5, description='Splits of the Inception score.')
  seed: Seed = Field(0, description='The same seed gives the same scores.')


class Protocol(ProtocolOptions):
  """The choices of an evaluation, apart from the model and the backbone.

  With a name, the fields that are not given are those of that published protocol.
  """

  name: str | None = Field(None, description='Of one of NAMED_PROTOCOLS.')
  image_ids: tuple[str, ...] | None = Field(
    None,
    description='Of the images to take of the split, by default all; with num_graphs the first of '
    'these.',
  )
  image_size: tuple[PositiveInt, PositiveInt] | None = Field(
    None,
    description='Height and width that sampled and real pictures are brought to before the '
    "backbone; by default the model's.",
  )


def load_image_ids(path: str | os.PathLike) -> tuple[str, ...]:
  """The image ids of a text file, one a line."""
  try:
    ids = tuple(pathlib.Path(path).read_text(encoding='utf-8').split())
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'{path}: cannot be read ({error}); expected a text file with an image id on each line'
    ) from error
  if not ids:
    raise UserError(f'{path}: is empty; expected an image id on each line')
  return ids
