"""Imports the commands, some named as functions of the package, and prints what is loaded."""

import sys
import types

import sg2im_jax
import sg2im_jax.convert
import sg2im_jax.evaluate
import sg2im_jax.train

if __name__ == '__main__':
  for name in ('train', 'evaluate', 'convert'):
    function = getattr(sg2im_jax, name)
    assert isinstance(function, types.FunctionType), function
    assert isinstance(sys.modules[f'sg2im_jax.{name}'], types.ModuleType)
    assert getattr(sg2im_jax, name) is function
  print(*{name.split('.')[0] for name in sys.modules})
