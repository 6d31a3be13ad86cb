"""The kernels of the notebooks in this folder run as build.py ran them: no GPU, quick profile."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.pop("RESNET_LIB_PROFILE", None)
