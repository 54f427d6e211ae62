"""Visual Genome at 128x128; see vg64.py."""

# The attributes of a ConfigDict have no types.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from ml_collections import ConfigDict

from data_pipelines.configs import vg64


def get_config() -> ConfigDict:
  config = vg64.get_config()
  config.data.image_size = (128, 128)
  return config
