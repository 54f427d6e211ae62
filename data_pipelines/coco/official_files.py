"""Where COCO's own files are."""

from data_pipelines.pipeline.download import DataSetFiles, OfficialFile

# Sizes and SHA-256 of COCO's files: tensorflow-datasets 4.9, url_checksums/coco.txt. For the stuff
# annotations it has none, and GluonCV has had two different SHA-1 of them, so they are checked by
# the sums in the archive.
_COCO = 'http://images.cocodataset.org'  # has no valid certificate of its own for https
_COCO_IMAGES = (
  OfficialFile(
    f'{_COCO}/zips/train2017.zip',
    19336861798,
    '69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929',
  ),
  OfficialFile(
    f'{_COCO}/zips/val2017.zip',
    815585330,
    '4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05',
  ),
)
_COCO_INSTANCES = OfficialFile(
  f'{_COCO}/annotations/annotations_trainval2017.zip',
  252907541,
  '113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268',
)
_COCO_STUFF = OfficialFile(f'{_COCO}/annotations/stuff_annotations_trainval2017.zip')
_COCO_PANOPTIC = OfficialFile(
  f'{_COCO}/annotations/panoptic_annotations_trainval2017.zip',
  860725834,
  'c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370',
)

_HOMEPAGE = 'https://cocodataset.org/#download'
STUFF_FILES = DataSetFiles(_HOMEPAGE, (_COCO_INSTANCES, _COCO_STUFF, *_COCO_IMAGES))
PANOPTIC_FILES = DataSetFiles(_HOMEPAGE, (_COCO_PANOPTIC, *_COCO_IMAGES))
