"""Changes what is in a picture: a photograph, a drawing, or a scene of a data set.

  python -m sg2im_jax.edit --workdir=runs/storybook --split=val --number=2 \\
      --change=examples/change.json --output_dir=edited
  python -m sg2im_jax.edit --workdir=runs/storybook --image=photo.png --scene=scene.json \\
      --change=change.json --output_dir=edited

The scene of a picture is its graph with a box for each object, x0, y0, x1, y1, the picture being
[0, 1]; masks may be there, too:

  {"objects": ["sky", "grass", "sheep"], "relationships": [[2, "standing on", 1]],
   "boxes": [[0, 0, 1, 0.5], [0, 0.5, 1, 1], [0.3, 0.4, 0.6, 0.7]]}

A change is one of the following, or a list of them, which are made one after the other. Objects are
numbers in the list of objects before the change; one that is added gets the next number.

  {"change": "replace", "object": 2, "by": "cow"}
  {"change": "remove", "object": 2}
  {"change": "add", "object": "boat", "relationships": [[3, "in", 1]], "box": [0.1, 0.2, 0.4, 0.6]}
  {"change": "move", "object": 2, "box": [0.5, 0.5, 0.8, 0.9]}
  {"change": "relate", "subject": 2, "predicate": "left of", "object": 1}
  {"change": "describe", "object": 2, "attributes": ["red"]}
  {"change": "describe", "scene": ["night"]}
  {"change": "appearance", "object": 2, "of": 3}
  {"change": "appearance", "object": 2, "of": {"image": "other.png", "box": [0.1, 0.2, 0.4, 0.6]}}

What a change does not name stays: the other objects keep their boxes and appearances, and pixels
stay where no changed object was or is, unless --repaint=all. Pictures have the size of the model's.
It must be a token model. What is written:

  OUTPUT_DIR/strip.png                 all steps beside each other
  OUTPUT_DIR/step_0.png, ...           the picture at the start, and after each change
  OUTPUT_DIR/scene_0.json, ...         its scene, to go on from with --image and --scene
"""

import json
import pathlib
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from data_pipelines import atomic_files
from data_pipelines.scene_graphs.errors import Fault, SettingsError
from data_pipelines.settings.section import NonNegativeInt, Section, Seed
from sg2im_jax.runtime import command_line, reporting

if TYPE_CHECKING:
  from sg2im_jax.sampling.placed_scene import PlacedScene
  from sg2im_jax.sampling.trained_model import TrainedModel

_PICTURE_SIDE = 192  # pixels, in the strip


class EditOptions(Section):
  """The flags of the command."""

  workdir: str = Field(description='Work directory of a training run of a token model.')
  change: str = Field(description='JSON file with one change or a list of them.')
  output_dir: str = Field(description='Folder for the pictures; made if it is missing.')
  image: str | None = Field(None, description='The picture, with --scene.')
  scene: str | None = Field(None, description='JSON file with the scene of --image.')
  split: str | None = Field(
    None, description='train, val or test: a scene of the data set of the training, with --number.'
  )
  number: NonNegativeInt | None = Field(None, description='Of the scene in --split, from 0.')
  data_dir: str | None = Field(
    None, description='Where the prepared data is; by default where training had it.'
  )
  seed: Seed = Field(0, description='The same seed gives the same pixels.')
  repaint: Literal['changed', 'all'] = Field(
    'changed',
    description='changed: only where objects that change were and are; all: everything.',
  )


def edit(options: EditOptions):
  from PIL import Image  # after the options are checked, as all that takes time

  from data_pipelines.drawing import sheets
  from sg2im_jax.sampling.changes import load_changes
  from sg2im_jax.sampling.trained_model import TrainedModel

  changes = load_changes(options.change)
  model = TrainedModel.load(options.workdir)
  picture, scene = _picture_and_scene(options, model)
  directory = pathlib.Path(options.output_dir)
  atomic_files.check_writable(directory)
  steps = model.edit(picture, scene, changes, seed=options.seed, repaint=options.repaint)
  captions = ['before', *(f'{index + 1}: {change}' for index, change in enumerate(changes))]
  strip = sheets.table([[sheets.enlarge(step.picture, _PICTURE_SIDE) for step in steps]], captions)
  with atomic_files.writing_to(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for index, step in enumerate(steps):
      picture = sheets.png(Image.fromarray(step.picture))
      atomic_files.write(directory / f'step_{index}.png', picture)
      text = json.dumps(step.scene.to_dict(), indent=1) + '\n'
      atomic_files.write(directory / f'scene_{index}.json', text.encode())
    atomic_files.write(directory / 'strip.png', sheets.png(strip))
  count = f'{len(changes)} change{"" if len(changes) == 1 else "s"}'
  reporting.info(f'{count}: look at {directory / "strip.png"}')


def _picture_and_scene(
  options: EditOptions, model: 'TrainedModel'
) -> tuple[np.ndarray, 'PlacedScene']:
  from sg2im_jax.sampling.editor import read_picture
  from sg2im_jax.sampling.placed_scene import PlacedScene

  of_file = (options.image is not None, options.scene is not None)
  of_data = (options.split is not None, options.number is not None)
  if not ((all(of_file) and not any(of_data)) or (all(of_data) and not any(of_file))):
    raise SettingsError(
      Fault('image', 'and --scene, or --split and --number, must be given; expected one of the two')
    )
  if options.image is not None and options.scene is not None:
    return read_picture(options.image), PlacedScene.load(options.scene)
  assert options.split is not None and options.number is not None
  return _of_data_set(model, options.split, options.number, options.data_dir)


def _of_data_set(
  model: 'TrainedModel', split: str, number: int, data_dir: str | None
) -> tuple[np.ndarray, 'PlacedScene']:
  from data_pipelines import preparation  # TensorFlow takes seconds
  from data_pipelines.pipeline import input_pipeline, prepared
  from sg2im_jax.sampling.placed_scene import PlacedScene

  settings = model.settings.with_data(data_dir, None).data
  builder = preparation.prepare(settings)
  visits = prepared.SplitVisits.of_settings(builder, split, settings, seed=0)
  count = input_pipeline.num_examples(builder, split)
  if number >= count:
    raise SettingsError(
      Fault(
        'number', f'is {number}, but split {split} has {count} scenes; expected 0 to {count - 1}'
      )
    )
  *_, found = visits.scenes(number + 1)
  return found.image, PlacedScene.of_prepared(found)


def main():
  command_line.run(EditOptions, edit, doc=__doc__)


if __name__ == '__main__':
  main()
