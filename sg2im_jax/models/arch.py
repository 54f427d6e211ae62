"""Names of layers in settings: arch strings and activations. Imports neither JAX nor Flax.

An arch string lists the layers of a discriminator. Its tokens are separated by commas and applied
in order:

    Cw-c[-s]  w x w convolution to c channels with stride s (1 without it); normalisation and
              activation precede every one but the first
    R         residual block: twice [normalisation, activation, 3x3 convolution], added to its input
    Ux        nearest-neighbour upsampling by x
    Px        average pooling over x x x
    FC-a-b    linear layer from a features (of the flattened map) to b
    Ix        number of input channels, as first token only; 3 without it
"""

import re
from collections.abc import Iterable
from typing import Any

from data_pipelines.scene_graphs.errors import UserError

# A letter, then numbers: tuple[str, *tuple[int, ...]], which beartype knows from 0.23 on only.
Token = tuple[Any, ...]

PADDINGS = ('valid', 'same')
LEAKY_SLOPES = {'leakyrelu': 0.01, 'relu': 0.01}
ACTIVATIONS = 'relu, leakyrelu or leakyrelu-SLOPE'  # as messages name them

_TOKEN = re.compile(r'(FC|C|R|U|P|I)(?:-?(\d+(?:-\d+)*))?')
_NUMBERS_OF_ARGUMENTS = {'C': (2, 3), 'R': (0,), 'U': (1,), 'P': (1,), 'FC': (2,), 'I': (1,)}


class ArchError(UserError):
  """An arch string that cannot be read or built.

  Attributes:
    problem: what is wrong, without the arch string itself.
  """

  def __init__(self, arch: str, problem: str):
    self.problem = problem
    super().__init__(f'arch {arch!r}: {problem}')


def parse_arch(arch: str) -> tuple[Token, ...]:
  """'C4-64-2,R' -> (('C', 4, 64, 2), ('R',)).

  Raises:
    ArchError: a token is unknown, has the wrong number of arguments or a 0 among them.
  """
  tokens = []
  for i, text in enumerate(filter(None, arch.split(','))):
    match = _TOKEN.fullmatch(text)
    arguments = tuple(int(n) for n in match[2].split('-')) if match and match[2] else ()
    if (
      not match
      or len(arguments) not in _NUMBERS_OF_ARGUMENTS[match[1]]
      or 0 in arguments
      or (match[1] == 'I' and i > 0)
    ):
      raise ArchError(
        arch,
        f'token {i + 1} is {text!r}, expected one of Cw-c, Cw-c-s, R, Ux, Px, FC-a-b, or Ix at '
        'the start, with numbers of 1 or more',
      )
    tokens.append((match[1], *arguments))
  return tuple(tokens)


def zeros_around(width: int, padding: str) -> int:
  """How many zeros a convolution of this width adds on each side, by the name of its padding."""
  return (width - 1) // 2 if padding == 'same' else 0


def check_arch(
  arch: str, *, padding: str, channels: int = 3, image_size: tuple[int, int] | None = None
) -> None:
  """Checks that the layers of an arch string fit each other and their input.

  Args:
    arch: see the module's docstring.
    padding: of convolutions, one of PADDINGS.
    channels: of the images.
    image_size: H, W of the images; None if unknown. Then neither the sizes of maps nor the number
      of features of the first FC are checked.

  Raises:
    ArchError: names the first token that cannot be built.
    UserError: the padding is unknown.
  """
  tokens = parse_arch(arch)
  if padding not in PADDINGS:
    raise UserError(f'padding {padding!r}: expected {" or ".join(PADDINGS)}')

  expected = tokens[0][1] if tokens and tokens[0][0] == 'I' else 3
  if channels != expected:
    raise ArchError(arch, f'takes {expected} input channels, the images have {channels}')

  size, flat, features = image_size, False, channels  # features is None if unknown
  for i, (kind, *arguments) in enumerate(tokens):

    def refuse(problem: str, number: int = i + 1) -> ArchError:
      return ArchError(arch, f'token {number} {problem}')

    if flat and kind != 'FC':
      raise refuse('follows an FC, which only another FC may')
    if kind == 'C':
      width, features, *stride = arguments
      if padding == 'same' and width % 2 == 0:
        raise refuse(f"with padding 'same' needs an odd kernel, found a width of {width}")
      if size is not None:
        around, step = 2 * zeros_around(width, padding), stride[0] if stride else 1
        if min(size) + around < width:
          raise refuse(f'has a kernel of {width}x{width}, but gets a map of {_by(size)}')
        size = tuple((side + around - width) // step + 1 for side in size)
    elif kind == 'R' and padding != 'same':
      raise refuse(f"is R; a residual block needs padding 'same', found {padding!r}")
    elif kind == 'U' and size is not None:
      size = tuple(side * arguments[0] for side in size)
    elif kind == 'P' and size is not None:
      if min(size) < arguments[0]:
        raise refuse(f'pools over {_by(arguments * 2)}, but gets a map of {_by(size)}')
      size = tuple(side // arguments[0] for side in size)
    elif kind == 'FC':
      if not flat:
        features = None if size is None else features * size[0] * size[1]
      if features is not None and features != arguments[0]:
        raise refuse(f'takes {arguments[0]} features, it gets {features}')
      flat, features = True, arguments[1]


def leaky_slope(activation: str) -> float:
  """The negative slope of an activation: LeakyReLU for every name, as in the published code.

  `leakyrelu-0.2` has slope 0.2; a name without a number has slope 0.01, and so has `relu` (a quirk
  that the published checkpoints were trained with).

  Raises:
    UserError: the name is unknown.
  """
  kind, _, slope = activation.partition('-')
  try:
    default = LEAKY_SLOPES[kind]
    return float(slope) if slope else default
  except (KeyError, ValueError):
    raise UserError(f'activation {activation!r}: expected {ACTIVATIONS}') from None


def _by(size: Iterable[int]) -> str:
  return 'x'.join(map(str, size))
