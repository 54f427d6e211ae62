import pytest

from data_pipelines.scene_graphs.errors import UserError
from sg2im_jax.models.arch import check_arch, leaky_slope, parse_arch


def test_parse_arch():
  assert parse_arch('I6,C4-64-2,R,U2,P2,FC-8-4') == (
    ('I', 6),
    ('C', 4, 64, 2),
    ('R',),
    ('U', 2),
    ('P', 2),
    ('FC', 8, 4),
  )


@pytest.mark.parametrize(
  'arch, token',
  [
    ('C4', "token 1 is 'C4'"),
    ('C3-8,X2', "token 2 is 'X2'"),
    ('C3-8,I3', "token 2 is 'I3'"),
    ('R3', "token 1 is 'R3'"),
    ('C3-8-0', "token 1 is 'C3-8-0'"),
  ],
)
def test_unknown_tokens(arch, token):
  with pytest.raises(UserError, match=token):
    parse_arch(arch)


@pytest.mark.parametrize(
  'arch, padding',
  [
    ('', 'valid'),
    ('C4-8-2,C4-16-2', 'valid'),
    ('C3-8-2,R,P2,U2,FC-512-3,FC-3-1', 'same'),
    ('FC-768-2', 'valid'),
  ],
)
def test_layers_that_fit(arch, padding):
  check_arch(arch, padding=padding, image_size=(16, 16))
  check_arch(arch, padding=padding)


@pytest.mark.parametrize(
  'arch, padding, message',
  [
    ('R,C4-8', 'same', 'token 2 with padding .same. needs an odd kernel, found a width of 4'),
    ('C3-8', 'full', "padding 'full': expected valid or same"),
    ('R', 'valid', "token 1 is R; a residual block needs padding 'same', found 'valid'"),
    ('I4,C3-8', 'valid', 'takes 4 input channels, the images have 3'),
    ('FC-768-2,FC-3-1', 'same', 'token 2 takes 3 features, it gets 2'),
    ('FC-768-2,U2', 'same', 'token 2 follows an FC'),
  ],
)
def test_layers_that_fit_at_no_size(arch, padding, message):
  for image_size in (None, (16, 16)):
    with pytest.raises(UserError, match=message):
      check_arch(arch, padding=padding, image_size=image_size)


@pytest.mark.parametrize(
  'arch, padding, message',
  [
    ('C4-8-2,C8-8', 'valid', 'token 2 has a kernel of 8x8, but gets a map of 7x7'),
    ('C3-8,P20', 'same', 'token 2 pools over 20x20, but gets a map of 16x16'),
    ('P3,U2,FC-5-2', 'same', 'token 3 takes 5 features, it gets 300'),
  ],
)
def test_layers_that_do_not_fit_a_size(arch, padding, message):
  check_arch(arch, padding=padding)
  with pytest.raises(UserError, match=message):
    check_arch(arch, padding=padding, image_size=(16, 16))


@pytest.mark.parametrize(
  'name, slope', [('leakyrelu-0.2', 0.2), ('relu', 0.01), ('leakyrelu', 0.01), ('relu-0.3', 0.3)]
)
def test_slopes_of_activations(name, slope):
  assert leaky_slope(name) == slope


@pytest.mark.parametrize('name', ['gelu', 'leakyrelu-steep', ''])
def test_unknown_activations(name):
  with pytest.raises(UserError, match=f'activation {name!r}: expected relu'):
    leaky_slope(name)
