"""Trained models in forms that other programs take."""

from typing import Literal

FormatName = Literal['stablehlo', 'saved_model', 'onnx', 'page']
