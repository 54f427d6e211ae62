"""The numbers of `python -m sg2im_jax.evaluate`: of layouts, of images, and of what a classifier
recognises in them.
"""
