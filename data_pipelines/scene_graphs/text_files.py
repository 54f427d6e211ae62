"""Text that people save, decoded."""

import codecs

from data_pipelines.scene_graphs.errors import UserError

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(content: bytes, where: str, expected: str) -> str:
  """The text in UTF-8, without a byte order mark.

  Args:
    content: of the file.
    where: the path, with which the message begins.
    expected: what the file holds, such as "COCO annotations".

  Raises:
    UserError: it is in another encoding, which is named if its mark tells.
  """
  refuse_utf_16(content, where)
  try:
    return content.removeprefix(codecs.BOM_UTF8).decode()
  except UnicodeDecodeError as error:
    raise UserError(
      f'{where}: not UTF-8 (byte {error.start}); expected {expected}: save it as UTF-8'
    ) from None


def refuse_utf_16(content: bytes, where: str):
  """UserError for text whose mark says UTF-16, which some editors write."""
  if content.startswith(_UTF_16_MARKS):
    raise UserError(f'{where}: found UTF-16, not UTF-8; save it as UTF-8')
