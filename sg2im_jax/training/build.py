"""From settings to a training: of the published model, or of object tokens.

Both have the same attributes and functions, and so have their states; the loop, validation and
dispatch know no difference.
"""

from data_pipelines.scene_graphs.vocabulary import Vocabulary
from sg2im_jax.settings import Settings
from sg2im_jax.training.adversarial import AdversarialTraining
from sg2im_jax.training.state import TrainState
from sg2im_jax.training.token_training import TokenTraining, TokenTrainState

Training = AdversarialTraining | TokenTraining
State = TrainState | TokenTrainState


def build_training(settings: Settings, vocabulary: Vocabulary) -> Training:
  """What the settings describe, for a vocabulary of this size."""
  family = AdversarialTraining if settings.tokens is None else TokenTraining
  return family.build(settings, vocabulary)
