"""Features of images by EfficientNet-Lite0 on three devices, an image each at a time.

python -m tests.processes.features_on_three_devices IMAGES.npy FEATURES.npy
"""

import sys

import jax
import numpy as np

from sg2im_jax.evaluation import backbones

if __name__ == '__main__':
  images, features = sys.argv[1:]
  backbones._IMAGES_PER_CPU = 1
  backbone = backbones.load_backbone('efficientnet-lite0')
  assert jax.local_device_count() == 3 and backbone.batch_size == 3
  np.save(features, backbone(np.load(images)).features)
