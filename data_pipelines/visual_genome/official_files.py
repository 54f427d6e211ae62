"""Where the files of Visual Genome 1.4 are, and that of its splits."""

from data_pipelines.pipeline.download import DataSetFiles, OfficialFile

# Addresses: the published scripts/download_vg.sh of google/sg2im; its visualgenome.org/static no
# longer has the annotations, which their author keeps at the University of Washington. Sizes and
# SHA-256: of the images, tensorflow-datasets 4.9, datasets/covr/checksums.tsv; of
# image_data.json.zip, huggingface/datasets, datasets/visual_genome/dataset_infos.json, which has it
# from the former address. For the others none was found.
_VISUAL_GENOME = 'https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset'
_VISUAL_GENOME_IMAGES = 'https://cs.stanford.edu/people/rak248/VG_100K_2'
_SPLITS = (
  'https://raw.githubusercontent.com/google/sg2im/1a3d4e71645cffc6cbe4c32c2eb74349e29919f6'
  '/sg2im/data/vg_splits.json'
)  # the commit fixes the content

FILES = DataSetFiles(
  'https://homes.cs.washington.edu/~ranjay/visualgenome/api.html',
  (
    OfficialFile(_SPLITS),
    OfficialFile(f'{_VISUAL_GENOME}/object_alias.txt'),
    OfficialFile(f'{_VISUAL_GENOME}/relationship_alias.txt'),
    OfficialFile(
      f'{_VISUAL_GENOME}/image_data.json.zip',
      1780854,
      'b87a94918cb2ff4d952cf1dfeca0b9cf6cd6fd204c2f8704645653be1163681a',
    ),
    OfficialFile(f'{_VISUAL_GENOME}/objects.json.zip'),
    OfficialFile(f'{_VISUAL_GENOME}/attributes.json.zip'),
    OfficialFile(f'{_VISUAL_GENOME}/relationships.json.zip'),
    OfficialFile(
      f'{_VISUAL_GENOME_IMAGES}/images.zip',
      9731705982,
      '51c682d2721f880150720bb416e0346a4c787e4c55d7f80dfd1bd3f73ba81646',
    ),
    OfficialFile(
      f'{_VISUAL_GENOME_IMAGES}/images2.zip',
      5471658058,
      '99da1a0ddf87011319ff3b05cf9176ffee2731cc3c52951162d9ef0d68e3cfb5',
    ),
  ),
)
