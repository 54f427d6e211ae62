"""Imports the package and prints what that has loaded."""

import sys

import sg2im_jax

if __name__ == '__main__':
  assert {'load', 'train', 'SceneGraph'} <= set(dir(sg2im_jax))
  print(*{name.split('.')[0] for name in sys.modules})
