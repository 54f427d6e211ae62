"""Image generation from scene graphs (Johnson, Gupta, Fei-Fei, CVPR 2018) in JAX and Flax.

  import sg2im_jax

  model = sg2im_jax.load('runs/storybook')
  graph = {'objects': ['sky', 'grass', 'sheep'], 'relationships': [[2, 'standing on', 1]]}
  samples = model.sample(graph, samples=4, seed=0)
  samples.pictures  # uint8[4, 64, 64, 3]

  load        a trained model, a `TrainedModel`, from a work directory
  SceneGraph  objects, the relations between them and their attributes, by name
  parse_text  the scene graph of an English text
  train       trains a model into a work directory
  evaluate    scores a work directory
  convert     makes a work directory of a checkpoint of the published PyTorch code
  export      writes a trained model in a form that other programs take

Importing the package loads neither JAX nor TensorFlow; each name loads what it needs when it is
first used, and sampling never needs TensorFlow. What long work reports goes to the logger
`sg2im_jax`. A mistake in an argument raises `UserError`, whose message is one line.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from data_pipelines.language.parser import parse_text as parse_text
  from data_pipelines.scene_graphs.errors import UserError as UserError
  from data_pipelines.scene_graphs.graph import SceneGraph as SceneGraph
  from sg2im_jax.evaluation.evaluation import evaluate as evaluate
  from sg2im_jax.exporting.exporter import export as export
  from sg2im_jax.published.conversion import convert as convert
  from sg2im_jax.sampling.trained_model import TrainedModel as TrainedModel
  from sg2im_jax.sampling.trained_model import load as load
  from sg2im_jax.training.loop import train as train

_MODULES = {
  'SceneGraph': 'data_pipelines.scene_graphs.graph',
  'TrainedModel': 'sg2im_jax.sampling.trained_model',
  'UserError': 'data_pipelines.scene_graphs.errors',
  'convert': 'sg2im_jax.published.conversion',
  'evaluate': 'sg2im_jax.evaluation.evaluation',
  'export': 'sg2im_jax.exporting.exporter',
  'load': 'sg2im_jax.sampling.trained_model',
  'parse_text': 'data_pipelines.language.parser',
  'train': 'sg2im_jax.training.loop',
}

__all__ = [
  'SceneGraph',
  'TrainedModel',
  'UserError',
  'convert',
  'evaluate',
  'export',
  'load',
  'parse_text',
  'train',
]


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])


class _Package(types.ModuleType):
  def __setattr__(self, name: str, value: Any):
    # The commands train, evaluate, export and convert are modules of this package. Importing one
    # must not replace the function of the same name.
    if name not in _MODULES or not isinstance(value, types.ModuleType):
      super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
