"""Scores of a trained model: of layouts, of pictures, and of the objects in them."""
