"""Scenes of the validation split with their real pictures, kept beside a model to compare with.

WORKDIR/validation_scenes.json is a list of scenes as `PlacedScene` has them, with two more keys:
"image_id", and "picture", a PNG file in base64.
"""

import base64
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.drawing import sheets
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.sampling.placed_scene import PlacedScene, read_json
from sg2im_jax.storage import work_directory

if TYPE_CHECKING:
  from data_pipelines.pipeline.prepared import PreparedScene  # TensorFlow takes seconds

MOST = 12  # scenes beside a model
_FILE = 'validation_scenes.json'


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationScene:
  """A scene that no training has seen.

  Attributes:
    image_id: of the image in its data set.
    picture: uint8[H, W, 3].
    scene: its graph and boxes.
  """

  image_id: str
  picture: UInt8[np.ndarray, 'H W 3']
  scene: PlacedScene


def exist(workdir: str | os.PathLike) -> bool:
  """Whether they have been saved."""
  return (pathlib.Path(workdir) / _FILE).exists()


def save(workdir: str | os.PathLike, scenes: 'Iterable[PreparedScene]'):
  """Writes scenes of a data set, atomically."""
  values = [
    {
      'image_id': scene.image_id,
      **PlacedScene.of_prepared(scene).to_dict(),
      'picture': base64.b64encode(sheets.png(Image.fromarray(scene.image))).decode(),
    }
    for scene in scenes
  ]
  work_directory.write_json(pathlib.Path(workdir) / _FILE, values, indent=None)


def load(workdir: str | os.PathLike) -> list[ValidationScene]:
  """The scenes of a work directory; none where there is no file, as of a converted model.

  Raises:
    UserError: the file is damaged.
  """
  path = pathlib.Path(workdir) / _FILE
  if not exist(workdir):
    return []
  found = []
  try:
    for index, entry in enumerate(read_json(path, '[]')):
      values = dict(entry)
      image_id, content = values.pop('image_id'), base64.b64decode(values.pop('picture'))
      picture = np.asarray(Image.open(io.BytesIO(content), formats=['PNG']).convert('RGB'))
      scene = PlacedScene.from_dict(values, f'scene {index}')
      found.append(ValidationScene(str(image_id), picture, scene))
  except (KeyError, TypeError, ValueError, OSError, SyntaxError, UserError) as error:
    raise UserError(
      f'{path} is damaged ({error}); delete it, and training writes it again'
    ) from error
  return found
