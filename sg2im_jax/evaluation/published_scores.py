"""Published scores, each with where it was read. To add one, add its record to PUBLISHED_SCORES.

The papers' own tables could not be read for this list; `source` says what was. A score without such
a source is not in it.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedScores:
  """Scores of one method on one data set.

  Attributes:
    method: its name, and what distinguishes the row from others of it.
    paper: with its arXiv id, where it has one.
    data: setting data.name.
    size: side of the pictures in pixels.
    protocol: name of that of NAMED_PROTOCOLS which the scores are said to follow; None if none is.
    scores: by the names of IMAGE_METRICS.
    source: where the numbers were read.
  """

  method: str
  paper: str
  data: str
  size: int
  protocol: str | None
  scores: Mapping[str, float]
  source: str


_SG2IM = 'Johnson et al. 2018, arXiv 1804.01622'
_LAYOUT2IM = 'Zhao et al. 2019, arXiv 1811.11389'
_LOSTGAN = 'Sun and Wu 2019, arXiv 1908.07500'
_LAYOUTDIFFUSION = 'Zheng et al. 2023, arXiv 2303.17189'
_FRIDO = 'Fan et al. 2022, arXiv 2208.13753'
_TRF_SG2IM = 'Sortino et al. 2023, arXiv 2303.04634'
_OF_SG2IM = (
  'paperswithcode.com/paper/image-generation-from-scene-graphs; the Inception score also follows '
  "from Layout2Im's abstract (24.66 % and 28.57 % above it) and scores; FID is by later papers"
)
_OF_LAYOUT2IM = (
  "github.com/zhaobozb/layout2im/issues/6, the paper's scores as its reader cites them"
)
_OF_LOSTGAN = (
  'paperswithcode.com/paper/image-synthesis-from-reconfigurable-layout; SceneFID is by Sylvain et '
  'al. 2020, arXiv 2003.07449'
)
_README = 'README.md of github.com/'

PUBLISHED_SCORES = (
  PublishedScores(
    method='SG2Im, true layout',
    paper=_SG2IM,
    data='coco_stuff',
    size=64,
    protocol='sg2im_gt',
    scores={'inception_score': 7.3, 'fid': 67.96},
    source=_OF_SG2IM,
  ),
  PublishedScores(
    method='SG2Im, true layout',
    paper=_SG2IM,
    data='visual_genome',
    size=64,
    protocol='sg2im_gt',
    scores={'inception_score': 6.3, 'fid': 74.61},
    source=_OF_SG2IM,
  ),
  PublishedScores(
    method='Layout2Im',
    paper=_LAYOUT2IM,
    data='coco_stuff',
    size=64,
    protocol='layout2im',
    scores={'inception_score': 9.1, 'fid': 38.14},
    source=_OF_LAYOUT2IM,
  ),
  PublishedScores(
    method='Layout2Im',
    paper=_LAYOUT2IM,
    data='visual_genome',
    size=64,
    protocol='layout2im',
    scores={'inception_score': 8.1},
    source=_OF_LAYOUT2IM,
  ),
  PublishedScores(
    method='LostGAN',
    paper=_LOSTGAN,
    data='coco_stuff',
    size=64,
    protocol='lostgan',
    scores={'inception_score': 9.8, 'fid': 34.31},
    source=_OF_LOSTGAN,
  ),
  PublishedScores(
    method='LostGAN',
    paper=_LOSTGAN,
    data='coco_stuff',
    size=128,
    protocol='lostgan',
    scores={'inception_score': 13.8, 'fid': 29.65, 'scene_fid': 20.03},
    source=_OF_LOSTGAN,
  ),
  PublishedScores(
    method='LostGAN',
    paper=_LOSTGAN,
    data='visual_genome',
    size=64,
    protocol='lostgan',
    scores={'fid': 34.75},
    source=_OF_LOSTGAN,
  ),
  PublishedScores(
    method='LostGAN',
    paper=_LOSTGAN,
    data='visual_genome',
    size=128,
    protocol='lostgan',
    scores={'inception_score': 11.1, 'fid': 29.36, 'scene_fid': 13.17},
    source=_OF_LOSTGAN,
  ),
  PublishedScores(
    method='LostGAN-v2',
    paper='Sun and Wu 2020, arXiv 2003.11571',
    data='coco_stuff',
    size=128,
    protocol='lostgan',
    scores={'inception_score': 14.21, 'fid': 24.76},
    source="github.com/WillSuen/LostGANs/issues/13, the paper's scores as its reader cites them",
  ),
  PublishedScores(
    method='LostGAN-v2',
    paper='Sun and Wu 2020, arXiv 2003.11571',
    data='coco_stuff',
    size=256,
    protocol='lostgan',
    scores={'fid': 42.55},
    source="github.com/wb-finalking/PLGAN/issues/2, the paper's score as its reader cites it",
  ),
  PublishedScores(
    method='LAMA',
    paper='Li et al. 2021, ICCV',
    data='coco_stuff',
    size=256,
    protocol=None,
    scores={'fid': 31.12, 'scene_fid': 18.64},
    source=_README + "ZejianLi/LAMA, the paper's abstract",
  ),
  PublishedScores(
    method='LayoutDiffusion',
    paper=_LAYOUTDIFFUSION,
    data='coco_stuff',
    size=128,
    protocol='layoutdiffusion-3097x5',
    scores={'fid': 16.57},
    source=_README + 'ZGCTroy/LayoutDiffusion, table of models, 25 steps',
  ),
  PublishedScores(
    method='LayoutDiffusion',
    paper=_LAYOUTDIFFUSION,
    data='coco_stuff',
    size=256,
    protocol='layoutdiffusion-3097x5',
    scores={'fid': 15.61},
    source=_README + 'ZGCTroy/LayoutDiffusion, table of models, 25 steps',
  ),
  PublishedScores(
    method='LayoutDiffusion',
    paper=_LAYOUTDIFFUSION,
    data='coco_stuff',
    size=256,
    protocol='layoutdiffusion-2048x1',
    scores={'fid': 31.68},
    source=_README + 'ZGCTroy/LayoutDiffusion, table of models, 25 steps',
  ),
  PublishedScores(
    method='LayoutDiffusion',
    paper=_LAYOUTDIFFUSION,
    data='visual_genome',
    size=128,
    protocol='layoutdiffusion-vg',
    scores={'fid': 16.35},
    source=_README + 'ZGCTroy/LayoutDiffusion, table of models, 25 steps',
  ),
  PublishedScores(
    method='LayoutDiffusion',
    paper=_LAYOUTDIFFUSION,
    data='visual_genome',
    size=256,
    protocol='layoutdiffusion-vg',
    scores={'fid': 15.63},
    source=_README + 'ZGCTroy/LayoutDiffusion, table of models, 25 steps',
  ),
  PublishedScores(
    method='Frido, from scene graphs',
    paper=_FRIDO,
    data='coco_stuff',
    size=256,
    protocol=None,
    scores={'fid': 46.11},
    source=_README + 'davidhalladay/Frido, table of models',
  ),
  PublishedScores(
    method='Frido, from scene graphs',
    paper=_FRIDO,
    data='visual_genome',
    size=256,
    protocol=None,
    scores={'fid': 31.61},
    source=_README + 'davidhalladay/Frido, table of models',
  ),
  PublishedScores(
    method='Transformer-based',
    paper=_TRF_SG2IM,
    data='coco_stuff',
    size=256,
    protocol=None,
    scores={'inception_score': 13.7, 'fid': 52.3},
    source=_README + "perceivelab/trf-sg2im, the paper's abstract; the size by its config/",
  ),
  PublishedScores(
    method='Transformer-based',
    paper=_TRF_SG2IM,
    data='visual_genome',
    size=256,
    protocol=None,
    scores={'inception_score': 12.8, 'fid': 60.3},
    source=_README + "perceivelab/trf-sg2im, the paper's abstract; the size by its config/",
  ),
)
