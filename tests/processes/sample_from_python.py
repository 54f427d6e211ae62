"""Loads the model of a work directory, samples a graph, and prints what is loaded then."""

import sys

import sg2im_jax

if __name__ == '__main__':
  (workdir,) = sys.argv[1:]
  model = sg2im_jax.load(workdir)
  graph = sg2im_jax.SceneGraph(('sky', 'grass'), ((0, 'above', 1),))
  samples = model.sample(graph, samples=2)
  assert samples.pictures.shape == (2, 32, 32, 3)
  print(*{name.split('.')[0] for name in sys.modules})
